"""How long backups are kept: by days, never the last one; model files go with their last backup."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cluster.backup.catalogue import (
    ABANDONED,
    clear_incomplete,
    complete_names,
    delete_backup,
    find_backups,
    read_manifest,
)
from cluster.backup.destination import Destination, object_key
from cluster.backup.faults import BackupCorrupt
from cluster.backup.manifest import moment_of
from cluster.backup.streams import Watch

KEEP_DAYS = 7


@dataclass(frozen=True, kw_only=True, slots=True)
class Pruned:
    """What was deleted, and what for once was not."""

    backups: tuple[str, ...]
    files: int
    size_bytes: int
    #: Why model files were left alone; empty if they were not.
    left: str = ""


def prune(
    destination: Destination,
    *,
    keep_days: float = KEEP_DAYS,
    now: datetime | None = None,
    watch: Watch | None = None,
) -> Pruned:
    """
    Delete backups older than ``keep_days``, but never the newest, then files nobody refers to.

    Raises:
        BackupRefused: A backup is being made there now.
    """
    watch = watch or Watch()
    moment = now or datetime.now(UTC)
    with destination.exclusive() as is_alone:
        clear_incomplete(destination, now=moment, is_alone=is_alone)
        expired = _expired(complete_names(destination), moment - timedelta(days=keep_days))
        for found in find_backups(destination):
            if found.name in expired:
                watch.at(f"delete {found.name}")
                delete_backup(destination, found.name, found.files)
        left = _reason_to_leave(destination, moment, is_alone=is_alone)
        swept = {} if left else _sweep(destination, watch)
    return Pruned(
        backups=tuple(expired), files=len(swept), size_bytes=sum(swept.values()), left=left
    )


def _expired(names: Collection[str], oldest: datetime) -> list[str]:
    return [name for name in sorted(names, key=moment_of)[:-1] if moment_of(name) < oldest]


def _reason_to_leave(destination: Destination, now: datetime, *, is_alone: bool) -> str:
    for found in find_backups(destination):
        if found.is_incomplete and not is_alone and now - moment_of(found.name) <= ABANDONED:
            return f"backup {found.name} is being made"
        if not found.is_incomplete:
            try:
                read_manifest(destination, found.name)
            except BackupCorrupt as error:
                return f"{found.name} does not say what it needs: {error.message}"
    return ""


def _sweep(destination: Destination, watch: Watch) -> dict[str, int]:
    needed = set()
    for name in complete_names(destination):
        manifest = read_manifest(destination, name)
        needed |= {object_key(sha256, manifest.key_id) for sha256 in manifest.artifacts}
    spare = {key: size for key, size in destination.sizes("objects").items() if key not in needed}
    for key in spare:
        watch.at("sweep")
        destination.delete(key)
    return spare

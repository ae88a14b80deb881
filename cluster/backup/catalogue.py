"""Which backups a destination holds, whole and incomplete ones, and what is kept of them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from cluster.backup.crypt import BackupKey, Keys
from cluster.backup.destination import (
    INCOMPLETE,
    MANIFEST,
    SEAL,
    Destination,
    backup_key,
    read_whole,
)
from cluster.backup.faults import BackupCorrupt, BackupRefused
from cluster.backup.manifest import NAME, Manifest, check_digest, check_seal, moment_of, name_of

#: A marker of this age belongs to nobody who still works.
ABANDONED = timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What lies under one name."""

    name: str
    files: frozenset[str]

    @property
    def is_incomplete(self) -> bool:
        """Begun and not ended, or half deleted: no backup, and no fault either."""
        return INCOMPLETE in self.files and SEAL not in self.files


def find_backups(destination: Destination) -> list[Found]:
    """Everything that a backup's name leads to, oldest first."""
    files: dict[str, set[str]] = {}
    for key in destination.sizes("backups"):
        parts = key.split("/")
        if len(parts) == 3 and NAME.fullmatch(parts[1]):  # noqa: PLR2004 - backups/<name>/<file>
            files.setdefault(parts[1], set()).add(parts[2])
    names = sorted(files, key=lambda name: (moment_of(name), len(name), name))
    return [Found(name=name, files=frozenset(files[name])) for name in names]


def complete_names(destination: Destination) -> list[str]:
    """Names of backups that were ended, oldest first; whether they are whole is not asked."""
    return [found.name for found in find_backups(destination) if not found.is_incomplete]


def choose(destination: Destination, name: str | None) -> str:
    """
    ``name``, or the newest backup.

    Raises:
        BackupRefused: There is none, or none of that name.
    """
    names = complete_names(destination)
    if name is None:
        if not names:
            raise BackupRefused(f"there is no backup in {destination.name}")
        return names[-1]
    if name not in names:
        raise BackupRefused(
            f"there is no backup {name!r} in {destination.name}: `slipway backup list` shows them"
        )
    return name


def read_manifest(destination: Destination, name: str) -> Manifest:
    """
    A backup's manifest, whole but not authenticated.

    Raises:
        BackupCorrupt: It is missing, changed, or another backup's.
    """
    return _read(destination, name)[0]


def open_manifest(
    destination: Destination, name: str, keys: Keys
) -> tuple[Manifest, BackupKey | None]:
    """
    A backup's manifest, authenticated where there is a passphrase, and the key of its files.

    Raises:
        BackupCorrupt: As for ``read_manifest``, or it was made with another passphrase or none.
        BackupRefused: It is encrypted and there is no passphrase.
    """
    manifest, content, seal = _read(destination, name)
    if manifest.key is None:
        if keys.is_given:
            raise BackupCorrupt(
                f"{name} was made without a passphrase, so nothing says who made it: leave out "
                "--passphrase-file if you trust the place"
            )
        check_seal(content, seal, None)
        return manifest, None
    key = keys.key(bytes.fromhex(manifest.key.salt))
    if key.key_id != manifest.key.key_id:
        raise BackupCorrupt(f"{name} was made with another passphrase")
    check_seal(content, seal, key)
    return manifest, key


def find_key(destination: Destination, keys: Keys) -> BackupKey | None:
    """The key under which earlier backups lie, so that their files serve again; else a new one."""
    if not keys.is_given:
        return None
    for name in reversed(complete_names(destination)):
        try:
            _, key = open_manifest(destination, name, keys)
        except BackupCorrupt:
            continue
        if key is not None:
            return key
    return keys.new_key()


def free_name(destination: Destination, moment: datetime) -> str:
    """A name for a backup begun now that no other has."""
    taken = {found.name for found in find_backups(destination)}
    name = name_of(moment)
    number = 2
    while name in taken:
        name = f"{name_of(moment)}-{number}"
        number += 1
    return name


def clear_incomplete(destination: Destination, *, now: datetime, is_alone: bool) -> list[str]:
    """Delete what killed runs left; where others may be at work, only what is a day old."""
    cleared = []
    for found in find_backups(destination):
        is_left = is_alone or now - moment_of(found.name) > ABANDONED
        if found.is_incomplete and is_left:
            delete_backup(destination, found.name, found.files)
            cleared.append(found.name)
        elif INCOMPLETE in found.files and SEAL in found.files:
            destination.delete(backup_key(found.name, INCOMPLETE))
    return cleared


def delete_backup(destination: Destination, name: str, files: Collection[str]) -> None:
    """Delete a backup's own files; killed half way, it is incomplete, never damaged."""
    if INCOMPLETE not in files:
        destination.put(backup_key(name, INCOMPLETE), [b"deleting\n"])
    last = (SEAL, MANIFEST)
    for file in (*last, *(file for file in sorted(files) if file not in {*last, INCOMPLETE})):
        destination.delete(backup_key(name, file))
    destination.delete(backup_key(name, INCOMPLETE))


def _read(destination: Destination, name: str) -> tuple[Manifest, bytes, bytes]:
    content = read_whole(destination, backup_key(name, MANIFEST))
    seal = read_whole(destination, backup_key(name, SEAL))
    check_digest(content, seal)
    manifest = Manifest.from_bytes(content)
    if manifest.name != name:
        raise BackupCorrupt(f"the manifest of {name} is that of {manifest.name}")
    return manifest, content, seal

"""
Deletes stored model files that no version has referred to for seven days.

It takes the lock that backups hold, so that no file goes between a dump and its copy; and a file
that was stored again lately stays, since its version may be about to be written.
"""

import time
from dataclasses import dataclass

from cluster.artifacts import ArtifactStore
from cluster.backup.registry import GarbageSource

#: A deleted version's bytes are kept this long; as long is any file kept after it was written.
KEEP_S = 7 * 24 * 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What was, or would be, deleted."""

    files: int
    size_bytes: int


def collect_garbage(
    source: GarbageSource,
    store: ArtifactStore,
    *,
    is_rehearsal: bool = False,
    keep_s: float = KEEP_S,
    now_s: float | None = None,
) -> Collected:
    """
    Delete, or only count, files that nobody needs.

    Raises:
        BackupRefused: A backup runs.
        ModelUnavailable: The store cannot be read or written.
    """
    oldest_s = (time.time() if now_s is None else now_s) - keep_s
    with source.exclusive():
        old = [found for found in store.objects() if found.modified_at_s < oldest_s]
        # Read after the files were listed: what was stored since is not among them.
        referred = source.referred()
        garbage = [found for found in old if found.sha256 not in referred]
        if not is_rehearsal:
            for found in garbage:
                store.delete(found.sha256)
    return Collected(files=len(garbage), size_bytes=sum(found.size_bytes for found in garbage))

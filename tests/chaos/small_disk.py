"""A disk for one SLIPWAY_HOME, small enough to be filled: a tmpfs, which root alone mounts."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

#: PostgreSQL, Valkey, logs and some models; what is free of it is filled.
SIZE_MB = 768
#: MAX_UPLOAD_SIZE there: twice as much free is the least for an upload.
UPLOAD_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class SmallDisk:
    """A mounted one."""

    path: Path

    @property
    def _filling(self) -> Path:
        return self.path / "filling"

    def fill(self) -> int:
        """Take every free block; how many bytes that were."""
        taken = 0
        with self._filling.open("ab") as file:
            # Others may write meanwhile, or give something back.
            while free := self._free_bytes():
                with suppress(OSError):
                    os.posix_fallocate(file.fileno(), taken, free)
                    taken += free
        return taken

    def free(self) -> None:
        """Give it back."""
        self._filling.unlink(missing_ok=True)

    def _free_bytes(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize


@contextmanager
def small_disk(path: Path) -> Iterator[SmallDisk]:
    """One mounted at ``path`` while the block lasts; root alone may."""
    if os.geteuid() != 0:
        raise SystemExit("fill-disk mounts a small disk, which root alone may")
    path.mkdir(parents=True)
    options = f"size={SIZE_MB}m,mode=0700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "slipway-chaos", str(path)], check=True)
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)

"""A disk for one SLIPWAY_HOME, small enough to be filled: a tmpfs, which root alone mounts."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
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
def small_disk(directory: Path) -> Iterator[SmallDisk]:
    """
    One that holds ``directory/home`` while the block lasts, and the embedded PostgreSQL's data.

    Those would lie elsewhere under root, who alone may mount; here they are where everybody else
    has them, on the disk of SLIPWAY_HOME.
    """
    if os.geteuid() != 0:
        raise SystemExit("fill-disk mounts a small disk, which root alone may")
    disk, home = directory / "disk", directory / "home"
    with ExitStack() as stack:
        options = f"size={SIZE_MB}m,mode=0755"
        stack.enter_context(_mounted("-t", "tmpfs", "-o", options, "slipway-chaos", on=disk))
        for name in ("home", "postgres"):
            (disk / name).mkdir()
        stack.enter_context(_mounted("--bind", str(disk / "home"), on=home))
        # PostgreSQL's own user has to come by.
        directory.chmod(0o711)
        (home / "postgres").write_text(f"{disk / 'postgres' / 'data'}\n", encoding="utf-8")
        yield SmallDisk(disk)


@contextmanager
def _mounted(*what: str, on: Path) -> Iterator[None]:
    on.mkdir()
    subprocess.run(["mount", *what, str(on)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(on)], check=True)

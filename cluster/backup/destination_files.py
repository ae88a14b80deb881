"""Backups in a directory, readable by their owner alone: a dump holds everybody's e-mail."""

import contextlib
import errno
import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from cluster.backup.faults import BackupCorrupt, BackupFailed, BackupRefused
from cluster.backup.streams import PIECE_BYTES
from cluster.private_files import PRIVATE_DIRECTORY, PRIVATE_FILE, private_directory

_TEMPORARY = ".writing-"
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR})


class DirectoryDestination:
    """One directory, made at the first write; a kill leaves nothing that looks whole."""

    def __init__(self, root: Path) -> None:
        self._root = root.expanduser().absolute()

    @property
    def name(self) -> str:
        """The directory."""
        return str(self._root)

    def put(self, key: str, chunks: Iterable[bytes]) -> int:
        """See ``Destination.put``."""
        path = self._root / key
        with _translated("written", path):
            path.parent.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            size_bytes = _write(path, chunks)
            for directory in (path.parent, path.parent.parent, path.parent.parent.parent):
                _sync(directory)
        return size_bytes

    def read(self, key: str) -> Iterator[bytes]:
        """See ``Destination.read``."""
        path = self._root / key
        with _translated("read", path), path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece

    def sizes(self, prefix: str) -> dict[str, int]:
        """See ``Destination.sizes``."""
        found = {}
        with _translated("read", self._root):
            for directory, _, names in os.walk(self._root / prefix):
                for name in names:
                    path = Path(directory, name)
                    if not name.startswith(_TEMPORARY):
                        found[path.relative_to(self._root).as_posix()] = path.stat().st_size
        return found

    def delete(self, key: str) -> None:
        """See ``Destination.delete``; directories that are empty then go as well."""
        path = self._root / key
        with _translated("written", path):
            path.unlink(missing_ok=True)
            for directory in path.parents:
                if directory == self._root or not _removed(directory):
                    return

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[bool]:
        """See ``Destination.exclusive``: a lock on the directory, which dies with its holder."""
        with _translated("written", self._root):
            private_directory(self._root)
            descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._lock(descriptor)
            self._sweep()
            yield True
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BackupRefused(
                f"another command writes to {self._root} now: wait for it to end"
            ) from error

    def _sweep(self) -> None:
        """Delete what a killed write left: alone here, so nobody is at it."""
        for path in self._root.rglob(f"{_TEMPORARY}*"):
            path.unlink(missing_ok=True)


def _write(path: Path, chunks: Iterable[bytes]) -> int:
    temporary = path.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    size_bytes = 0
    try:
        with os.fdopen(descriptor, "wb") as file:
            for chunk in chunks:
                size_bytes += file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return size_bytes


def _removed(directory: Path) -> bool:
    try:
        directory.rmdir()
    except OSError:
        return False
    return True


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _translated(verb: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if verb == "read" and error.errno in _ABSENT:
            raise BackupCorrupt(f"{path} is missing") from error
        reason = error.strerror or type(error).__name__
        raise BackupFailed(f"{path} cannot be {verb}: {reason}") from error

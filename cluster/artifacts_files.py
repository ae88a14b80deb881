"""Artifacts as files in a directory; several processes, or nodes that share it, may write."""

import contextlib
import errno
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from cluster.artifacts import StoredObject, StoreSpace, note_key, object_key, verify
from cluster.errors import ModelUnavailable, StorageFull

_DIGEST = re.compile(r"[0-9a-f]{64}")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
#: A write of ours that is older than this was cut off by a crash.
STALE_WRITE_S = 24 * 3600


class FileArtifacts:
    """Artifacts in a directory; safe for several processes, and for nodes that share it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        with _translated("prepared"):
            for name in ("objects", "notes", "tmp"):
                (root / name).mkdir(parents=True, exist_ok=True)
            self._sweep_stale_writes()

    def put(self, content: bytes, sha256: str) -> None:
        """See ``ArtifactStore.put``; an object that rotted on disk is replaced."""
        verify(content, sha256)
        path = self._root / object_key(sha256)
        with _translated("written"):
            if not _holds(path, content):
                self._write(path, content, 0o444)
            else:
                # Its version is about to be written anew: the collection of garbage goes by age.
                os.utime(path)

    def get(self, sha256: str, size_bytes: int) -> bytes:
        """See ``ArtifactStore.get``."""
        path = self._root / object_key(sha256)
        with _translated("read"):
            try:
                content = path.read_bytes()
            except FileNotFoundError as error:
                raise ModelUnavailable(
                    f"the store has no artifact {sha256}: restore it or upload the model again",
                    sha256=sha256,
                ) from error
        return verify(content, sha256, size_bytes)

    def has(self, sha256: str) -> bool:
        """See ``ArtifactStore.has``."""
        with _translated("read"):
            return (self._root / object_key(sha256)).is_file()

    def delete(self, sha256: str) -> None:
        """See ``ArtifactStore.delete``."""
        with _translated("written"):
            for key in (object_key(sha256), note_key(sha256)):
                (self._root / key).unlink(missing_ok=True)

    def objects(self) -> Iterator[StoredObject]:
        """See ``ArtifactStore.objects``."""
        with _translated("read"):
            for path in (self._root / "objects").glob("??/??/*"):
                if _DIGEST.fullmatch(path.name):
                    stat = path.stat()
                    yield StoredObject(
                        sha256=path.name, size_bytes=stat.st_size, modified_at_s=stat.st_mtime
                    )

    def put_note(self, sha256: str, note: bytes) -> None:
        """See ``ArtifactStore.put_note``."""
        with _translated("written"):
            self._write(self._root / note_key(sha256), note, 0o644)

    def find_note(self, sha256: str) -> bytes | None:
        """See ``ArtifactStore.find_note``."""
        with _translated("read"):
            try:
                return (self._root / note_key(sha256)).read_bytes()
            except FileNotFoundError:
                return None

    def space(self) -> StoreSpace:
        """See ``ArtifactStore.space``."""
        with _translated("read"):
            usage = shutil.disk_usage(self._root)
        return StoreSpace(free_bytes=usage.free, total_bytes=usage.total)

    def _write(self, path: Path, content: bytes, mode: int) -> None:
        temporary = self._root / "tmp" / uuid.uuid4().hex
        try:
            with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as f:
                f.write(content)
                f.flush()
                os.fsync(f.fileno())
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        # The rename and the two fan-out directories last only once their parents are on disk.
        for directory in (path.parent, path.parent.parent, path.parent.parent.parent):
            _sync_directory(directory)

    def _sweep_stale_writes(self) -> None:
        oldest = time.time() - STALE_WRITE_S
        for path in (self._root / "tmp").iterdir():
            with contextlib.suppress(FileNotFoundError):  # another Loader sweeps as well
                if path.stat().st_mtime < oldest:
                    path.unlink()


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except FileNotFoundError:
        return False


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _translated(verb: str) -> Iterator[None]:
    """Operating-system errors become ours here and nowhere else."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull("the model store is full: free some space, then try again") from error
        raise ModelUnavailable(
            f"the model store cannot be {verb} ({error.strerror or type(error).__name__}); "
            "other models go on",
            retry_after_s=5,
        ) from error

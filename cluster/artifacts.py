"""
The content-addressed store of model bytes: what it promises, its file adapter, and ``open_store``.

Layout: ``objects/ab/cd/<sha256>`` read-only, ``notes/ab/cd/<sha256>.json`` (what the Loader knows
about those bytes), ``tmp/`` for writes under way.  The S3 adapter is ``artifacts_s3``.
"""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from cluster.errors import ArtifactCorrupt, InsecureSettings, ModelUnavailable, StorageFull
from cluster.settings import Settings

_DIGEST = re.compile(r"[0-9a-f]{64}")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
#: A write of ours that is older than this was cut off by a crash.
STALE_WRITE_S = 24 * 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredObject:
    """One artifact as the store lists it."""

    sha256: str
    size_bytes: int
    #: Seconds since the epoch, by the store's clock.
    modified_at_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreSpace:
    """Room in the store; ``None`` where the store has no bound of its own (S3)."""

    free_bytes: int | None
    total_bytes: int | None


class ArtifactStore(Protocol):
    """Bytes by their sha256; every method blocks, so call them from a worker thread."""

    def put(self, content: bytes, sha256: str) -> None:
        """
        Keep the bytes; they are durable on return.  Repeating a put, also at once, is harmless.

        Raises:
            ArtifactCorrupt: The bytes have another digest.
            StorageFull: No room.
            ModelUnavailable: The store cannot be written.
        """
        ...

    def get(self, sha256: str, size_bytes: int) -> bytes:
        """
        Verified bytes.

        Raises:
            ArtifactCorrupt: The stored bytes have another size or digest.
            ModelUnavailable: No such object, or the store cannot be read.
        """
        ...

    def has(self, sha256: str) -> bool:
        """Whether the object is there; raises ModelUnavailable if the store cannot tell."""
        ...

    def delete(self, sha256: str) -> None:
        """Forget the object and its note; an absent one is no fault."""
        ...

    def objects(self) -> Iterator[StoredObject]:
        """Every object, in no order; raises ModelUnavailable if the store cannot be read."""
        ...

    def put_note(self, sha256: str, note: bytes) -> None:
        """Replace what is known about the object, atomically; raises as ``put`` does."""
        ...

    def find_note(self, sha256: str) -> bytes | None:
        """What ``put_note`` kept last, or ``None``; raises ModelUnavailable."""
        ...

    def space(self) -> StoreSpace:
        """Room that is left; raises ModelUnavailable if the store cannot be reached."""
        ...


def object_key(sha256: str) -> str:
    """``objects/ab/cd/<sha256>``; raises ModelUnavailable for what is no sha256 in hex."""
    return f"objects/{_fan_out(sha256)}"


def note_key(sha256: str) -> str:
    """``notes/ab/cd/<sha256>.json``; raises ModelUnavailable for what is no sha256 in hex."""
    return f"notes/{_fan_out(sha256)}.json"


def _fan_out(sha256: str) -> str:
    if not _DIGEST.fullmatch(sha256):
        raise ModelUnavailable(f"{sha256[:80]!r} is no sha256 digest", sha256=sha256[:80])
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"


def verify(content: bytes, sha256: str, size_bytes: int | None = None) -> bytes:
    """
    The same bytes, if they are what was asked for.

    Raises:
        ArtifactCorrupt: Naming the digest and what differs.
    """
    if size_bytes is not None and len(content) != size_bytes:
        raise ArtifactCorrupt(
            f"artifact {sha256} has {len(content)} bytes, not {size_bytes}: restore it from a "
            "backup or upload the model again",
            sha256=sha256,
        )
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ArtifactCorrupt(
            f"artifact {sha256} does not have that digest any more: restore it from a backup or "
            "upload the model again",
            sha256=sha256,
        )
    return content


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


def open_store(settings: Settings) -> ArtifactStore:
    """
    The store that ARTIFACT_STORE names; files under UPLOAD_DIR where it names none.

    Raises:
        InsecureSettings: The URL is of no kind that we know.
        ModelUnavailable: The store cannot be prepared.
    """
    url = settings.artifact_store
    if not url:
        return FileArtifacts(settings.upload_dir)
    parts = urlsplit(url)
    if parts.scheme == "file":
        return FileArtifacts(settings.slipway_home / unquote(parts.netloc + parts.path))
    if parts.scheme == "s3" and parts.netloc:
        from cluster.artifacts_s3 import open_s3_store

        return open_s3_store(settings, bucket=parts.netloc, prefix=parts.path.strip("/"))
    raise InsecureSettings(
        f"ARTIFACT_STORE {url!r} is neither file://<path> nor s3://<bucket>/<prefix>"
    )

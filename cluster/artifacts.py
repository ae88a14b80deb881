"""
The content-addressed store of model bytes: what it promises, and ``open_store``.

Layout: ``objects/ab/cd/<sha256>`` read-only, ``notes/ab/cd/<sha256>.json`` (what the Loader knows
about those bytes), ``tmp/`` for writes under way.  The adapters are
``artifacts_files`` and ``artifacts_s3``.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote, urlsplit

from cluster.errors import ArtifactCorrupt, InsecureSettings, ModelUnavailable
from cluster.settings import Settings

_DIGEST = re.compile(r"[0-9a-f]{64}")


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


def is_file_store(settings: Settings) -> bool:
    """Whether ``open_store`` opens a directory."""
    return urlsplit(settings.artifact_store).scheme in {"", "file"}


def open_store(settings: Settings) -> ArtifactStore:
    """
    The store that ARTIFACT_STORE names; files under UPLOAD_DIR where it names none.

    Raises:
        InsecureSettings: The URL is of no kind that we know.
        ModelUnavailable: The store cannot be prepared.
    """
    from cluster.artifacts_files import FileArtifacts

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

"""The shared pool of model files: what a backup adds to it, and how a file is read from it."""

import gzip
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cluster.artifacts import ArtifactStore, verify
from cluster.backup.crypt import BackupKey, encrypted_size
from cluster.backup.destination import Destination, object_key
from cluster.backup.faults import BackupCorrupt, BackupFailed
from cluster.backup.streams import Watch, pieces
from cluster.errors import ArtifactCorrupt, ModelUnavailable


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """What a backup holds of model files, and what was new."""

    artifacts: dict[str, int]
    new_files: int
    new_bytes: int


@dataclass(kw_only=True)
class Pool:
    """Model files in a destination, in clear or under one key."""

    destination: Destination
    key: BackupKey | None

    def path(self, sha256: str) -> str:
        """Key of the file below the destination."""
        return object_key(sha256, self.key.key_id if self.key else None)

    def copy(
        self,
        store: ArtifactStore,
        needed: Mapping[str, int],
        welcome: Mapping[str, int],
        *,
        is_full: bool,
        watch: Watch,
    ) -> Copied:
        """
        Add what is missing.

        Args:
            store: Where model files are read from.
            needed: Bytes by sha256 of those that must be there.
            welcome: The same of those that go along if they are there.
            is_full: Copy also what is there already.
            watch: Who looks on.

        Raises:
            BackupFailed: A needed file is not in the store, or rotted there.
        """
        there = {} if is_full else self._there()
        wanted = dict(welcome) | dict(needed)
        copied: dict[str, int] = {}
        new_files = new_bytes = done = 0
        total = sum(wanted.values())
        for sha256, size_bytes in sorted(wanted.items()):
            is_there = there.get(self.path(sha256)) == self._stored_size(size_bytes)
            if not is_there:
                watch.at(f"copy {sha256[:8]}")
                content = _read(store, sha256, size_bytes, is_needed=sha256 in needed)
                if content is None:
                    continue
                self._put(sha256, content)
                new_files, new_bytes = new_files + 1, new_bytes + size_bytes
            copied[sha256] = size_bytes
            done += size_bytes
            watch.progress("model files", done, total)
        return Copied(artifacts=copied, new_files=new_files, new_bytes=new_bytes)

    def missing(self, artifacts: Mapping[str, int]) -> dict[str, int]:
        """Those of the files that are not there in their full size."""
        there = self._there()
        return {
            sha256: size_bytes
            for sha256, size_bytes in artifacts.items()
            if there.get(self.path(sha256)) != self._stored_size(size_bytes)
        }

    def read(self, sha256: str, size_bytes: int) -> bytes:
        """A file's verified content; raises BackupCorrupt."""
        content = self.content(sha256, size_bytes)
        try:
            return verify(content, sha256, size_bytes)
        except ArtifactCorrupt as error:
            path = self.path(sha256)
            raise BackupCorrupt(f"{path} does not have its digest any more") from error

    def content(self, sha256: str, size_bytes: int) -> bytes:
        """A file's content, for whoever verifies it; raises BackupCorrupt as decryption does."""
        path = self.path(sha256)
        chunks = self.destination.read(path)
        if self.key is not None:
            chunks = self.key.decrypt(chunks, path)
        return _bounded(chunks, size_bytes)

    def _put(self, sha256: str, content: bytes) -> None:
        chunks = pieces(content)
        self.destination.put(
            self.path(sha256), chunks if self.key is None else self.key.encrypt(chunks)
        )

    def _there(self) -> dict[str, int]:
        return self.destination.sizes(self.path("00").split("/00")[0])

    def _stored_size(self, size_bytes: int) -> int:
        return size_bytes if self.key is None else encrypted_size(size_bytes)


def notes_content(store: ArtifactStore, artifacts: Mapping[str, int]) -> bytes:
    """What the Loader knows of each file, as compressed lines of JSON."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as file:
        for sha256 in sorted(artifacts):
            note = store.find_note(sha256)
            if note is not None:
                line = {"sha256": sha256, "note": note.decode(errors="replace")}
                file.write(json.dumps(line).encode() + b"\n")
    return buffer.getvalue()


def notes_of(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Digest and note, as ``notes_content`` wrote them; raises BackupCorrupt."""
    try:
        for line in gzip.decompress(content).splitlines():
            entry = json.loads(line)
            yield str(entry["sha256"]), str(entry["note"]).encode()
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise BackupCorrupt("the notes beside the model files cannot be read") from error


def _bounded(chunks: Iterator[bytes], size_bytes: int) -> bytes:
    """At most one piece more than expected: a file that grew must not fill the memory."""
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > size_bytes:
            break
    return bytes(content)


def _read(store: ArtifactStore, sha256: str, size_bytes: int, *, is_needed: bool) -> bytes | None:
    try:
        if not is_needed and not store.has(sha256):
            return None
        return store.get(sha256, size_bytes)
    except (ModelUnavailable, ArtifactCorrupt) as error:
        if not is_needed:
            return None
        raise BackupFailed(
            f"a model file cannot be backed up: {error.message}; `slipway backup restore` brings it"
            " back from an earlier backup, deleting its version lets this one pass"
        ) from error

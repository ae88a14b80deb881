"""
Where backups lie: a directory or a bucket, as a few operations on keys.

    objects/<key id or "plain">/ab/<sha256>     model files, shared by all backups
    backups/<UTC time>/incomplete               only while it is being made or deleted
    backups/<UTC time>/{database.dump, notes.jsonl.gz, configuration.json}
    backups/<UTC time>/manifest.json            what belongs to it
    backups/<UTC time>/manifest.sum             digests of the manifest; written last
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from cluster.backup.faults import BackupFailed
from cluster.settings import Settings

INCOMPLETE = "incomplete"
MANIFEST = "manifest.json"
SEAL = "manifest.sum"


class Destination(Protocol):
    """Files by key; every method blocks and raises BackupFailed where it cannot do its work."""

    @property
    def name(self) -> str:
        """As the operator wrote it."""
        ...

    def put(self, key: str, chunks: Iterable[bytes]) -> int:
        """Replace the file, whole or not at all; durable on return.  Returns its bytes."""
        ...

    def read(self, key: str) -> Iterator[bytes]:
        """Its bytes in pieces; raises BackupCorrupt if there is no such file."""
        ...

    def sizes(self, prefix: str) -> dict[str, int]:
        """Bytes by key of all files below ``prefix``."""
        ...

    def delete(self, key: str) -> None:
        """Forget the file; an absent one is no fault."""
        ...

    def exclusive(self) -> AbstractContextManager[bool]:
        """
        Keep other writers out; false where the place has no way to do that (S3).

        Raises:
            BackupRefused: Another process writes there now.
        """
        ...


def open_destination(place: str, settings: Settings, *, endpoint: str = "") -> Destination:
    """
    The directory or ``s3://<bucket>/<prefix>``.

    Args:
        place: As the operator wrote it.
        settings: For the S3 client.
        endpoint: Of an S3-compatible store; default: ARTIFACT_STORE_ENDPOINT.
    """
    parts = urlsplit(place)
    if parts.scheme == "s3" and parts.netloc:
        from cluster.backup.destination_s3 import open_s3_destination

        if endpoint:
            settings = settings.model_copy(update={"artifact_store_endpoint": endpoint})
        return open_s3_destination(settings, bucket=parts.netloc, prefix=parts.path.strip("/"))
    if parts.scheme and "://" in place:
        raise BackupFailed(f"{place!r} is neither a directory nor s3://<bucket>/<prefix>")
    from cluster.backup.destination_files import DirectoryDestination

    return DirectoryDestination(Path(place))


def read_whole(destination: Destination, key: str) -> bytes:
    """A small file's content; raises BackupCorrupt if there is no such file."""
    return b"".join(destination.read(key))


def backup_key(name: str, file: str) -> str:
    """Key of a backup's own file."""
    return f"backups/{name}/{file}"


def object_key(sha256: str, key_id: str | None) -> str:
    """Key of a model file: in clear, or as encrypted under one key."""
    return f"objects/{key_id or 'plain'}/{sha256[:2]}/{sha256}"

"""Backups in an S3-compatible bucket, through obstore (the extra ``s3``)."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from cluster.artifacts_s3 import s3_client
from cluster.backup.faults import BackupCorrupt, BackupFailed
from cluster.backup.streams import recut
from cluster.settings import Settings

#: One part of a multipart upload; S3 takes 10 000 of them.
PART_BYTES = 8 * 1024 * 1024


def open_s3_destination(settings: Settings, *, bucket: str, prefix: str) -> "S3Destination":
    """
    The destination ``s3://<bucket>/<prefix>``; credentials as for the artifact store.

    Raises:
        InsecureSettings: The extra is not installed, or a credential file is unreadable.
    """
    client = s3_client(settings, bucket=bucket, prefix=prefix)
    return S3Destination(client, name=f"s3://{bucket}/{prefix}".rstrip("/"))


class S3Destination:
    """One bucket under one prefix; a put shows itself whole or not at all, by the protocol."""

    def __init__(self, client: Any, *, name: str) -> None:  # an obstore S3Store: mypy skips it
        self._client = client
        self._name = name

    @property
    def name(self) -> str:
        """Bucket and prefix as a URL."""
        return self._name

    def put(self, key: str, chunks: Iterable[bytes]) -> int:
        """See ``Destination.put``."""
        import obstore

        size_bytes = 0

        def counted() -> Iterator[bytes]:
            nonlocal size_bytes
            for chunk in recut(chunks, PART_BYTES):
                size_bytes += len(chunk)
                yield chunk

        with self._translated("written", key):
            obstore.put(self._client, key, counted(), chunk_size=PART_BYTES)
        return size_bytes

    def read(self, key: str) -> Iterator[bytes]:
        """See ``Destination.read``."""
        import obstore

        with self._translated("read", key):
            for chunk in obstore.get(self._client, key).stream():
                yield bytes(chunk)

    def sizes(self, prefix: str) -> dict[str, int]:
        """See ``Destination.sizes``."""
        import obstore

        found: dict[str, int] = {}
        with self._translated("read", prefix):
            for page in obstore.list(self._client, prefix=prefix):
                found.update({entry["path"]: entry["size"] for entry in page})
        return found

    def delete(self, key: str) -> None:
        """See ``Destination.delete``."""
        import obstore
        from obstore.exceptions import NotFoundError

        with (
            self._translated("written", key),
            contextlib.suppress(FileNotFoundError, NotFoundError),
        ):
            obstore.delete(self._client, key)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[bool]:
        """False: S3 has no lock that dies with its holder, so age decides what is left over."""
        yield False

    @contextlib.contextmanager
    def _translated(self, verb: str, key: str) -> Iterator[None]:
        from obstore.exceptions import BaseError, NotFoundError

        try:
            yield
        except (FileNotFoundError, NotFoundError) as error:
            raise BackupCorrupt(f"{self._name}/{key} is missing") from error
        except (BaseError, OSError) as error:
            # obstore's text names endpoints and may carry signed headers: only its kind is told.
            raise BackupFailed(
                f"{self._name}/{key} cannot be {verb} ({type(error).__name__}): check the bucket, "
                "the endpoint and the credentials"
            ) from error

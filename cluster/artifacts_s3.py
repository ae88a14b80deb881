"""
Artifacts in an S3-compatible object store, through obstore (the extra ``s3``).

Credentials come from AWS_ACCESS_KEY_ID_FILE and its like, or from the places where obstore looks
by itself (environment, instance metadata); only a Loader opens this store.
"""

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from cluster.artifacts import StoredObject, StoreSpace, note_key, object_key, verify
from cluster.errors import InsecureSettings, ModelUnavailable
from cluster.setting_sources import read_secret_file
from cluster.settings import Settings

#: One attempt at one object; obstore retries within ``RETRY_TIMEOUT_S``.
REQUEST_TIMEOUT_S = 30
RETRY_TIMEOUT_S = 20
_CREDENTIALS = ("access_key_id", "secret_access_key", "session_token")


def open_s3_store(settings: Settings, *, bucket: str, prefix: str) -> "S3Artifacts":
    """
    The store under ``s3://<bucket>/<prefix>``.

    Raises:
        InsecureSettings: The extra is not installed, or a credential or CA file is unreadable.
    """
    return S3Artifacts(s3_client(settings, bucket=bucket, prefix=prefix))


def s3_client(settings: Settings, *, bucket: str, prefix: str) -> Any:
    """
    An obstore client for ``s3://<bucket>/<prefix>``; artifacts and backups use the same.

    Raises:
        InsecureSettings: The extra is not installed, or a credential or CA file is unreadable.
    """
    try:
        from obstore.store import S3Store
    except ImportError as error:
        raise InsecureSettings("the client for S3 is missing: pip install 'slipway[s3]'") from error
    config: dict[str, Any] = {}
    for name in _CREDENTIALS:
        if (secret := read_secret_file(f"AWS_{name.upper()}")) is not None:
            config[name] = secret
    if settings.artifact_store_endpoint:
        config["endpoint"] = settings.artifact_store_endpoint
    return S3Store(
        bucket,
        prefix=prefix or None,
        config=config,
        client_options=_client_options(settings),
        retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=RETRY_TIMEOUT_S)},
    )


def _client_options(settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {"timeout": timedelta(seconds=REQUEST_TIMEOUT_S)}
    if settings.artifact_store_endpoint.startswith("http://"):
        options["allow_http"] = True
    if settings.artifact_store_ca_file is not None:
        try:
            options["root_certificate"] = settings.artifact_store_ca_file.read_bytes()
        except OSError as error:
            raise InsecureSettings(
                f"ARTIFACT_STORE_CA_FILE names {settings.artifact_store_ca_file}, which cannot be "
                f"read: {error.strerror or 'unreadable'}"
            ) from error
    return options


class S3Artifacts:
    """Artifacts in one bucket under one prefix; a put is atomic by the protocol."""

    def __init__(self, store: Any) -> None:  # an obstore S3Store, whose stubs mypy skips
        self._store = store

    def put(self, content: bytes, sha256: str) -> None:
        """See ``ArtifactStore.put``."""
        verify(content, sha256)
        self._put(object_key(sha256), content)

    def get(self, sha256: str, size_bytes: int) -> bytes:
        """See ``ArtifactStore.get``."""
        content = self._find(object_key(sha256))
        if content is None:
            raise ModelUnavailable(
                f"the store has no artifact {sha256}: restore it or upload the model again",
                sha256=sha256,
            )
        return verify(content, sha256, size_bytes)

    def has(self, sha256: str) -> bool:
        """See ``ArtifactStore.has``."""
        import obstore

        key = object_key(sha256)
        with _translated("read"):
            try:
                obstore.head(self._store, key)
            except _absent():
                return False
        return True

    def delete(self, sha256: str) -> None:
        """See ``ArtifactStore.delete``."""
        import obstore

        for key in (object_key(sha256), note_key(sha256)):
            with _translated("written"), contextlib.suppress(*_absent()):
                obstore.delete(self._store, key)

    def objects(self) -> Iterator[StoredObject]:
        """See ``ArtifactStore.objects``."""
        import obstore

        with _translated("read"):
            for page in obstore.list(self._store, prefix="objects"):
                for entry in page:
                    yield StoredObject(
                        sha256=entry["path"].rsplit("/", 1)[-1],
                        size_bytes=entry["size"],
                        modified_at_s=entry["last_modified"].timestamp(),
                    )

    def put_note(self, sha256: str, note: bytes) -> None:
        """See ``ArtifactStore.put_note``."""
        self._put(note_key(sha256), note)

    def find_note(self, sha256: str) -> bytes | None:
        """See ``ArtifactStore.find_note``."""
        return self._find(note_key(sha256))

    def space(self) -> StoreSpace:
        """No bound; asking for an object that cannot exist proves that the bucket answers."""
        self.has("0" * 64)
        return StoreSpace(free_bytes=None, total_bytes=None)

    def _put(self, key: str, content: bytes) -> None:
        import obstore

        with _translated("written"):
            obstore.put(self._store, key, content)

    def _find(self, key: str) -> bytes | None:
        import obstore

        with _translated("read"):
            try:
                return bytes(obstore.get(self._store, key).bytes())
            except _absent():
                return None


def _absent() -> tuple[type[Exception], ...]:
    """What obstore raises for a key that is not there: it differs between releases."""
    from obstore.exceptions import NotFoundError

    return (FileNotFoundError, NotFoundError)


@contextlib.contextmanager
def _translated(verb: str) -> Iterator[None]:
    """Obstore's errors become ours here; their text names keys and endpoints, so it stays out."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, OSError) as error:
        raise ModelUnavailable(
            f"the model store cannot be {verb} ({type(error).__name__}); other models go on",
            retry_after_s=5,
        ) from error

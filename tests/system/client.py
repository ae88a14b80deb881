"""A user of the HTTP API, as a test sees one."""

import io
import secrets
from dataclasses import dataclass
from typing import Any, Self

import httpx
import joblib
import skops.io

PASSWORD = "correct horse battery"


def as_bytes(model: object, file_format: str) -> bytes:
    """The fitted model as a data scientist would save it."""
    if file_format == "skops":
        return bytes(skops.io.dumps(model))
    buffer = io.BytesIO()
    if file_format == "joblib":
        joblib.dump(model, buffer)
    elif file_format == "joblib-gz":
        joblib.dump(model, buffer, compress=("gzip", 3))
    else:
        import pickle

        pickle.dump(model, buffer)
    return buffer.getvalue()


@dataclass
class ApiUser:
    """A registered, signed-in user with an HTTP client and an API key."""

    http: httpx.Client
    email: str
    key: str
    headers: dict[str, str]

    @classmethod
    def register(cls, url: str) -> "ApiUser":
        """A new account by registration, login and a key with `predict` scope."""
        email = f"u{secrets.token_hex(6)}@example.org"
        http = httpx.Client(base_url=url, timeout=60)
        body = {"email": email, "password": PASSWORD}
        http.post("/api/v1/auth/register", json=body).raise_for_status()
        tokens = http.post("/api/v1/auth/login", json=body).raise_for_status().json()
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        key = http.post("/api/v1/api-keys", json={"name": "app"}, headers=headers)
        return cls(http, email, key.raise_for_status().json()["key"], headers)

    def __enter__(self) -> Self:
        """The user, whose connections end with the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.http.close()

    def upload(self, name: str, content: bytes, **fields: str) -> httpx.Response:
        """POST a new model."""
        return self.http.post(
            "/api/v1/models",
            files={"file": ("model.bin", content)},
            data={"name": name, **fields},
            headers=self.headers,
        )

    def upload_version(self, name: str, content: bytes, **fields: str) -> httpx.Response:
        """POST a further version."""
        return self.http.post(
            f"/api/v1/models/{name}/versions",
            files={"file": ("model.bin", content)},
            data=fields,
            headers=self.headers,
        )

    def predict(self, name: str, instances: list[Any], **members: Any) -> httpx.Response:
        """POST a prediction with the API key."""
        return self.http.post(
            f"/api/v1/models/{name}/predict",
            json={"instances": instances, **members},
            headers={"X-API-Key": self.key},
        )

"""The HTTP application over the real sandbox, Loader and Predictor, in one process, without Ray."""

import io
import uuid
from collections.abc import AsyncIterator

import httpx
import joblib
import pytest
import skops.io
from pydantic import SecretStr

from cluster.settings import Settings
from serve_app.app import create_app
from serve_app.services import Services
from tests.integration.models_api.conftest import signed_in
from tests.integration.one_process import running_services


def as_joblib(model: object) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(model, buffer, compress=("gzip", 3))
    return buffer.getvalue()


def as_skops(model: object) -> bytes:
    return bytes(skops.io.dumps(model))


class Platform:
    """The application and what signs users in."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.transport = httpx.ASGITransport(create_app(services))

    async def user(self, role: str = "publisher") -> httpx.AsyncClient:
        """A client of a new user."""
        email = f"{uuid.uuid4().hex}@example.org"
        return await signed_in(self.services, self.transport, email, role)


@pytest.fixture(scope="module", name="platform")
async def real_platform(
    database_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Platform]:
    home = tmp_path_factory.mktemp("home")
    settings = Settings(
        _env_file=None,
        slipway_home=home,
        database_url=SecretStr(database_url),
        redis_url=SecretStr(valkey_url),
        redis_prefix=f"{home.name}:",
        secret_key=SecretStr("k" * 40),
        default_rate_limit=1_000_000,
    )
    async with running_services(settings, replica_id="real") as services:
        yield Platform(services)


async def upload(
    client: httpx.AsyncClient, content: bytes, name: str = "model", **fields: str
) -> httpx.Response:
    files = {"file": ("model", content)}
    return await client.post("/api/v1/models", files=files, data={"name": name, **fields})


async def predict(
    client: httpx.AsyncClient, instances: object, method: str = "predict"
) -> list[object]:
    body = {"instances": instances, "method": method}
    answer = await client.post("/api/v1/models/model/predict", json=body)
    assert answer.status_code == 200, answer.text
    predictions: list[object] = answer.json()["predictions"]
    return predictions

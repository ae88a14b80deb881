"""Servers of the module's own, and the application over them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from pydantic import SecretStr

from cluster.embedded import EmbeddedPostgres, EmbeddedValkey
from cluster.metrics import Metric
from cluster.settings import Settings
from deployments.loader import Loader
from deployments.predictor import Predictor
from serve_app.app import create_app
from serve_app.local import LocalLoaders, LocalPredictors
from serve_app.registry.migrate import upgrade
from serve_app.services import build_services
from tests.integration.degradation.house import House, numbers
from tests.integration.models_api.conftest import signed_in


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("pg"))
    yield server
    server.destroy()


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
async def house(
    postgres: EmbeddedPostgres, valkey: EmbeddedValkey, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    home = tmp_path_factory.mktemp("home")
    database_url = await asyncio.to_thread(postgres.start)
    await asyncio.to_thread(upgrade, database_url)
    settings = Settings(
        _env_file=None,
        slipway_home=home,
        database_url=SecretStr(database_url),
        redis_url=SecretStr(await asyncio.to_thread(valkey.start)),
        secret_key=SecretStr("k" * 40),
        default_rate_limit=40_000,
        max_upload_size=1_000_000,
        # Every prediction is to take the long way.
        short_path_enabled=False,
    )
    loader = await asyncio.to_thread(lambda: Loader(settings=settings))
    predictor = Predictor(loader, settings=settings)
    services = build_services(
        settings,
        predictors=LocalPredictors(predictor),
        loaders=LocalLoaders(loader),
        replica_id="degraded",
    )
    app = create_app(services)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        client = await signed_in(services, transport, "degraded@example.org", "publisher")
        yield House(services, client, loader, settings.slipway_home / settings.upload_dir, settings)
    predictor.close()
    loader.close()


@pytest.fixture
async def model(house: House) -> str:
    """A loaded model; its name ends in what it adds."""
    number = next(numbers) + 1
    name = f"loaded-{number}"
    (await house.upload(name)).raise_for_status()
    assert await house.predict_many(name, 3) == {"right": 3}
    return name


@pytest.fixture
def decisions(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What was decided without a dependency, as the metric counts it."""
    counted: Counter[str] = Counter()
    original = Metric.record

    def record(self: Metric, value: float = 1, **labels: str) -> None:
        if self.name == "slipway_fail_open_total":
            counted[labels["what"]] += int(value)
        original(self, value, **labels)

    monkeypatch.setattr(Metric, "record", record)
    return counted

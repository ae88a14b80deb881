"""Each dependency is really stopped: predictions go on, writes say so at once, and all recovers."""

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import pytest

from cluster.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.integration.degradation.house import (
    House,
    nearly_slowest,
    numbers,
    refused_s,
    stopped,
    until,
)

pytestmark = pytest.mark.anyio
#: faults.md, R12: what a write may take to say that it cannot be done.
WRITE_REFUSED_S = 1.0
#: And to work again.
RECOVERY_S = 10.0


async def test_postgres_that_hangs(
    house: House, model: str, postgres: EmbeddedPostgres, decisions: Counter[str]
) -> None:
    with stopped(postgres.pid):
        await until(house.new_key, 503, within_s=5)
        outcomes = await house.predict_many(model, 200)
        slow_s = nearly_slowest([await refused_s(house.new_key) for _ in range(20)])
        is_ready = (await house.client.get("/v2/health/ready")).status_code
    await until(house.new_key, 201, within_s=RECOVERY_S)

    assert outcomes == {"right": 200}
    assert slow_s < WRITE_REFUSED_S
    assert is_ready == 200
    assert await house.predict_many(model, 20) == {"right": 20}


async def test_postgres_that_is_gone_and_comes_back(
    house: House, model: str, postgres: EmbeddedPostgres
) -> None:
    await asyncio.to_thread(postgres.stop)
    try:
        slow_s = nearly_slowest([await refused_s(house.new_key) for _ in range(20)])
        outcomes = await house.predict_many(model, 200)
        upload = await house.upload("never")
    finally:
        await asyncio.to_thread(postgres.start)
    await until(house.new_key, 201, within_s=RECOVERY_S)

    assert outcomes == {"right": 200}
    assert slow_s < WRITE_REFUSED_S
    assert upload.status_code == 503
    assert (await house.client.get("/api/v1/models/never")).status_code == 404


async def test_identities_and_models_known_before_are_served_and_counted(
    house: House, model: str, postgres: EmbeddedPostgres, decisions: Counter[str]
) -> None:
    await asyncio.to_thread(postgres.stop)
    try:
        # Trusted without a word for as long as the registry was read a moment ago.
        async with asyncio.timeout(30):
            while not ({"identity", "catalog"} <= decisions.keys()):
                assert await house.predict_many(model, 1) == {"right": 1}
    finally:
        await asyncio.to_thread(postgres.start)
    await until(house.new_key, 201, within_s=RECOVERY_S)


async def test_a_new_ingress_knows_who_was_here_before_an_outage(
    house: House, model: str, postgres: EmbeddedPostgres
) -> None:
    key = (await house.new_key()).json()["key"]
    revoked = (await house.new_key()).json()
    await house.client.delete(f"/api/v1/api-keys/{revoked['id']}")
    await house.services.stats.flush()
    async with house.newcomer() as newcomer:
        ask = partial(
            newcomer.post, f"/api/v1/models/{model}/predict", json={"instances": [[1.0, 0.0]]}
        )
        await asyncio.to_thread(postgres.stop)
        try:
            known = await ask(headers={"X-API-Key": key})
            unknown = await ask(headers={"X-API-Key": revoked["key"]})
        finally:
            await asyncio.to_thread(postgres.start)
    await until(house.new_key, 201, within_s=RECOVERY_S)

    assert known.json()["predictions"] == pytest.approx([1.0 + float(model.rsplit("-", 1)[1])])
    assert unknown.status_code == 503


async def until_counted(house: House, model: str, decisions: Counter[str], what: str) -> None:
    """Predict until a fail-open decision is counted: what was leased before lasts a moment."""
    async with asyncio.timeout(30):
        while not decisions[what]:
            assert await house.predict_many(model, 1) == {"right": 1}


@asynccontextmanager
async def without(valkey: EmbeddedValkey) -> AsyncIterator[None]:
    await asyncio.to_thread(valkey.stop)
    try:
        yield
    finally:
        await asyncio.to_thread(valkey.start)


@asynccontextmanager
async def hanging(valkey: EmbeddedValkey) -> AsyncIterator[None]:
    with stopped(valkey.pid):
        yield


@pytest.mark.parametrize("fault", [hanging, without])
async def test_valkey_that_hangs_or_is_gone(
    house: House,
    model: str,
    valkey: EmbeddedValkey,
    decisions: Counter[str],
    fault: Callable[[EmbeddedValkey], AbstractAsyncContextManager[None]],
) -> None:
    async with fault(valkey):
        started = time.perf_counter()
        outcomes = await house.predict_many(model, 200)
        elapsed_s = time.perf_counter() - started
        await until_counted(house, model, decisions, "limits")
        writes = await house.new_key()

    assert outcomes == {"right": 200}
    assert elapsed_s < 10  # 50 ms each, on a busy machine
    assert writes.status_code == 201
    await until(lambda: house.client.get("/health/ready"), 200, within_s=RECOVERY_S)


async def test_a_store_that_is_away(house: House, model: str) -> None:
    number = next(numbers) + 1
    cold = f"cold-{number}"
    (await house.upload(cold)).raise_for_status()
    away = house.store.with_name("away")
    house.store.rename(away)
    try:
        outcomes = await house.predict_many(model, 50)
        unknown = await house.predict(cold, 1.0)
    finally:
        shutil.rmtree(house.store, ignore_errors=True)
        away.rename(house.store)

    assert outcomes == {"right": 50}
    assert (unknown.status_code, unknown.json()["code"]) == (503, "model_unavailable")
    # A failure is remembered for a second, so that a cold model's callers do not storm the store.
    await until(lambda: house.predict(cold, 1.0), 200, within_s=RECOVERY_S)
    assert await house.predict_many(cold, 3) == {"right": 3}


async def test_a_disk_with_less_than_twice_the_largest_upload_left(
    house: House, model: str
) -> None:
    # The same check meets a full disk: the bound is raised instead of the disk being filled.
    free_bytes = shutil.disk_usage(house.settings.slipway_home).free
    uploads = house.services.uploads
    before = uploads._file_bytes_max
    uploads._file_bytes_max = free_bytes
    try:
        refused = await house.upload("too-much")
        outcomes = await house.predict_many(model, 20)
    finally:
        uploads._file_bytes_max = before

    assert (refused.status_code, refused.json()["code"]) == (507, "storage_full")
    assert outcomes == {"right": 20}
    assert (await house.upload("fits")).status_code == 201


async def test_a_loader_without_a_sandbox(house: House, model: str) -> None:
    """Last: this Loader does not come back."""
    house.loader.close()
    outcomes = await house.predict_many(model, 50)
    upload = await house.upload("unvetted")

    assert outcomes == {"right": 50}
    assert upload.status_code == 503
    assert (await house.client.get("/api/v1/models/unvetted")).status_code == 404

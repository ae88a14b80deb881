"""Predictions counted in process, kept by the minute, told by hour and day."""

import asyncio
import uuid
from datetime import timedelta

import pytest
from sqlalchemy import func, update

from cluster.errors import ModelNotFound, RegistryUnavailable
from serve_app.registry.connections import PoolLimits
from serve_app.registry.database import Database
from serve_app.registry.stats import StatsRecorder, model_stats
from serve_app.registry.tables import PredictionStats

from .conftest import Line, MakeModel, MakeUser

pytestmark = pytest.mark.anyio


async def test_counts_of_all_replicas_and_flushes_add_up(
    database: Database, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner = await make_user()
    model_id = (await make_model(owner)).model.id
    for replica in ("a", "b"):
        recorder = StatsRecorder(database, replica)
        for _ in range(2):
            for _ in range(9):
                recorder.record(model_id, 1, 0.001)
            recorder.record(model_id, 2, 0.1, is_error=True)
            await recorder.flush()

    stats = await database.read(lambda s: model_stats(s, owner, "iris"))

    for window in (stats.last_hour, stats.last_day):
        assert (window.total.requests, window.total.errors) == (40, 4)
        assert window.total.p50_ms == pytest.approx(1.0, rel=0.15)
        assert window.total.p95_ms == pytest.approx(100.0, rel=0.15)
        assert list(window.by_version) == [1, 2]
        assert (window.by_version[1].requests, window.by_version[1].errors) == (36, 0)
        assert window.by_version[1].p95_ms == pytest.approx(1.0, rel=0.2)


async def test_the_last_hour_is_part_of_the_last_day(
    database: Database, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner = await make_user()
    model_id = (await make_model(owner)).model.id
    recorder = StatsRecorder(database, "a")
    for age in (timedelta(hours=30), timedelta(hours=5), timedelta(0)):
        recorder.record(model_id, 1, 0.001)
        await recorder.flush()
        move = (
            update(PredictionStats)
            .where(
                PredictionStats.model_id == uuid.UUID(model_id),
                PredictionStats.minute > func.now() - timedelta(minutes=5),
            )
            .values(minute=PredictionStats.minute - age)
        )
        await database.write(lambda s, m=move: s.execute(m))  # type: ignore[misc]

    stats = await database.read(lambda s: model_stats(s, owner, "iris"))

    assert stats.last_hour.total.requests == 1
    assert stats.last_day.total.requests == 2


async def test_a_model_without_calls_has_no_latency(
    database: Database, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner = await make_user()
    await make_model(owner)

    stats = await database.read(lambda s: model_stats(s, owner, "iris"))

    assert stats.last_day.total.requests == 0
    assert stats.last_day.total.p50_ms is None
    assert stats.last_day.by_version == {}


async def test_others_are_told_nothing(
    database: Database, make_user: MakeUser, make_model: MakeModel
) -> None:
    model_id = (await make_model(await make_user())).model.id
    stranger = await make_user()

    with pytest.raises(ModelNotFound):
        await database.read(lambda s: model_stats(s, stranger, model_id))


async def test_counts_outlive_an_outage(
    database: Database, line: Line, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner = await make_user()
    model_id = (await make_model(owner)).model.id
    cut_off = Database.from_url(line.url, PoolLimits(size=1, overflow=0))
    recorder = StatsRecorder(cut_off, "a")
    recorder.record(model_id, 1, 0.001)
    line.cut()
    with pytest.raises(RegistryUnavailable):
        await recorder.flush()
    recorder.record(model_id, 1, 0.001)

    line.mend()
    async with asyncio.timeout(10):
        while True:
            try:
                await recorder.flush()
                break
            except RegistryUnavailable:
                continue
    stats = await database.read(lambda s: model_stats(s, owner, "iris"))
    assert stats.last_hour.total.requests == 2
    await cut_off.close()


async def test_a_model_the_database_forgot_does_not_hold_up_the_others(
    database: Database, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner = await make_user()
    model_id = (await make_model(owner)).model.id
    recorder = StatsRecorder(database, "a")
    recorder.record(str(uuid.uuid4()), 1, 0.001)
    recorder.record(model_id, 1, 0.001)

    await recorder.flush()

    stats = await database.read(lambda s: model_stats(s, owner, "iris"))
    assert stats.last_hour.total.requests == 1


async def test_stopping_writes_what_is_left(
    database: Database, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner = await make_user()
    model_id = (await make_model(owner)).model.id
    recorder = StatsRecorder(database, "a")
    recorder.start()
    recorder.record(model_id, 1, 0.001)

    await recorder.stop()

    stats = await database.read(lambda s: model_stats(s, owner, "iris"))
    assert stats.last_hour.total.requests == 1

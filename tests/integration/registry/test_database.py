"""One transaction a call, off the event loop; a dead or stuck server is answered for at once."""

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from cluster.errors import (
    Conflict,
    InsecureSettings,
    InvalidInput,
    PlatformError,
    RegistryUnavailable,
)
from cluster.settings import Settings
from serve_app.registry.circuit import Circuit
from serve_app.registry.connections import Connections, PoolLimits
from serve_app.registry.database import Database, record_change
from serve_app.registry.tables import Change, Follower

from .conftest import Line

pytestmark = pytest.mark.anyio
SMALL = PoolLimits(size=2, overflow=1)


def _changes(session: Session) -> list[tuple[int, str, str]]:
    rows = session.execute(select(Change.sequence, Change.kind, Change.subject))
    return sorted((sequence, kind, subject) for sequence, kind, subject in rows)


async def test_write_commits_and_announces_each_change_once(database: Database) -> None:
    def work(session: Session) -> str:
        record_change(session, "model", "a")
        record_change(session, "model", "b")
        record_change(session, "model", "a")
        return "done"

    written = await database.write(work)

    changes = await database.read(_changes)
    assert written.value == "done"
    assert [change[1:] for change in changes] == [("model", "a"), ("model", "b")]
    assert written.sequence == changes[-1][0]


async def test_write_without_change_has_no_sequence(database: Database) -> None:
    written = await database.write(lambda session: session.scalar(text("SELECT 7")))

    assert (written.value, written.sequence) == (7, None)


async def test_work_that_raises_leaves_nothing_behind(database: Database) -> None:
    before = await database.read(_changes)

    def work(session: Session) -> None:
        record_change(session, "model", "half")
        session.execute(text("INSERT INTO followers VALUES ('half', 0)"))
        raise InvalidInput("no")

    with pytest.raises(InvalidInput):
        await database.write(work)
    names = await database.read(lambda session: session.scalars(select(Follower.replica_id)).all())
    assert "half" not in names
    assert await database.read(_changes) == before


async def test_a_read_cannot_write(database: Database) -> None:
    with pytest.raises(PlatformError):
        await database.read(
            lambda session: session.execute(text("INSERT INTO followers VALUES ('reader', 0)"))
        )


async def test_text_that_cannot_be_stored_is_the_callers_fault(database: Database) -> None:
    with pytest.raises(InvalidInput, match="NUL"):
        await database.read(
            lambda session: session.scalar(
                select(Follower.replica_id).where(Follower.replica_id == "a\x00b")
            )
        )


async def test_the_log_holds_no_value_that_was_sent(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    twice = text("INSERT INTO followers VALUES (:name, 0)")

    with pytest.raises(Conflict):
        await database.write(lambda s: s.execute(twice, [{"name": "hush"}, {"name": "hush"}]))

    (record,) = caplog.records
    assert "IntegrityError 23505" in record.getMessage()
    assert "hush" not in record.getMessage()


async def test_connections_carry_the_name_of_their_process(database_url: str) -> None:
    database = Database.from_url(database_url, SMALL, application_name="slipway-ingress-7")

    name = await database.read(
        lambda session: session.scalar(text("SELECT current_setting('application_name')"))
    )

    await database.close()
    assert name == "slipway-ingress-7"


async def test_a_burst_holds_no_more_connections_than_the_pool(database_url: str) -> None:
    database = Database.from_url(database_url, SMALL, application_name="burst")
    count = text("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'burst'")

    def work(session: Session) -> int:
        session.execute(text("SELECT pg_sleep(0.01)"))
        return int(session.scalar(count) or 0)

    held = await asyncio.gather(*(database.read(work) for _ in range(40)))

    await database.close()
    assert max(held) <= 3


async def test_what_is_urgent_does_not_queue_behind_the_rest(database_url: str) -> None:
    database = Database.from_url(database_url, SMALL)
    lock = text("SELECT pg_advisory_xact_lock(4711)")
    holder = Database.from_url(database_url, SMALL, application_name="holder")
    is_held, may_end = threading.Event(), threading.Event()

    def hold(session: Session) -> None:
        session.execute(lock)
        is_held.set()
        may_end.wait(10)

    holding = asyncio.create_task(holder.read(hold))
    assert await asyncio.to_thread(is_held.wait, 10)
    waiting = [asyncio.create_task(database.read(lambda s: s.execute(lock))) for _ in range(12)]

    answer = await database.read(lambda s: s.scalar(text("SELECT 1")), is_urgent=True)
    done_early = sum(task.done() for task in waiting)
    may_end.set()
    await asyncio.gather(holding, *waiting)
    assert answer == 1
    assert done_early < len(waiting)
    await database.close()
    await holder.close()


async def test_the_pool_is_lowered_to_the_replicas_share(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(database_url=database_url, database_pool_size=400, workers=2)
    database = Database.from_settings(settings, application_name="slipway-ingress-1")
    with caplog.at_level(logging.WARNING):
        maximum = await database.read(
            lambda session: session.scalar(text("SELECT current_setting('max_connections')::int"))
        )

    await database.close()
    (record,) = [item for item in caplog.records if "lowered" in item.getMessage()]
    sizes = vars(record)
    assert sizes["pool_size"] + sizes["pool_overflow"] <= (maximum or 0) // 2


async def test_settings_without_a_database_are_refused() -> None:
    with pytest.raises(InsecureSettings, match="DATABASE_URL"):
        Database.from_settings(Settings(database_url=None), application_name="x")


async def test_a_statement_that_runs_too_long_is_given_up_alone(database_url: str) -> None:
    limits = PoolLimits(size=2, overflow=0, statement_timeout_s=0.1)
    database = Database.from_url(database_url, limits)

    with pytest.raises(RegistryUnavailable):
        await database.read(lambda session: session.execute(text("SELECT pg_sleep(5)")))

    assert database.is_available
    await database.close()


async def test_a_missing_schema_names_the_command(empty_database_url: str) -> None:
    database = Database.from_url(empty_database_url, SMALL)

    with pytest.raises(RegistryUnavailable, match="slipway migrate"):
        await database.read(_changes)
    await database.close()


async def test_a_server_that_was_away_at_the_start_is_found_later(line: Line) -> None:
    now = [0.0]
    database = _through(line, now)
    line.cut()
    with pytest.raises(RegistryUnavailable) as caught:
        await database.ping()

    line.mend()
    now[0] += 2
    assert await database.ping() > 0
    assert caught.value.retry_after_s is not None
    await database.close()


async def test_after_a_failure_nobody_tries_until_the_pause_is_over(line: Line) -> None:
    now = [0.0]
    database = _through(line, now)
    await database.ping()
    line.cut()
    with pytest.raises(RegistryUnavailable):
        await database.ping()
    tried = line.accepted

    started = time.perf_counter()
    for _ in range(100):
        with pytest.raises(RegistryUnavailable):
            await database.ping()
    assert line.accepted == tried
    assert time.perf_counter() - started < 1.0
    assert not database.is_available
    await database.close()


async def test_one_probe_at_a_time_goes_through_after_the_pause(line: Line) -> None:
    now = [0.0]
    database = _through(line, now)
    line.cut()
    with pytest.raises(RegistryUnavailable):
        await database.ping()
    tried = line.accepted

    now[0] += 2
    answers = await asyncio.gather(*(database.ping() for _ in range(3)), return_exceptions=True)
    assert all(isinstance(answer, RegistryUnavailable) for answer in answers)
    assert line.accepted == tried + 1
    await database.close()


async def test_a_server_that_hangs_opens_the_circuit(line: Line) -> None:
    now = [0.0]
    database = _through(line, now)
    await database.ping()
    line.is_stuck = True

    with pytest.raises(RegistryUnavailable):
        await database.read(lambda session: session.scalar(text("SELECT 1")), timeout_s=0.2)

    assert not database.is_available
    line.cut()
    await database.close()


def _through(line: Line, now: list[float]) -> Database:
    connections = Connections(line.url, SMALL, application_name="line")
    return Database(connections, threads=3, circuit=Circuit(clock=lambda: now[0]))


def test_the_event_loop_is_not_needed_to_open_connections(database_url: str) -> None:
    connections = Connections(database_url, SMALL, application_name="threads")

    with ThreadPoolExecutor(4) as pool:
        engines = set(pool.map(lambda _: connections.engine(), range(8)))

    connections.discard()
    assert len(engines) == 1

"""The sequence: followed without a gap, settled by every live replica, never waited for long."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.orm import Session

from serve_app.registry import changes, settling
from serve_app.registry.changes import EVERYTHING, KINDS, ChangeFollower
from serve_app.registry.connections import PoolLimits
from serve_app.registry.database import Database, record_change
from serve_app.registry.pruning import prune
from serve_app.registry.tables import Change, Follower

from .conftest import Line

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_other_follower")]


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a follower counts as live for longer."""
    monkeypatch.setattr(changes, "LIVE_S", 60.0)
    monkeypatch.setattr(settling, "LIVE_S", 60.0)


class Wire:
    """A wake-up channel in process."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[int] = asyncio.Queue()

    async def publish(self, sequence: int) -> None:
        await self._queue.put(sequence)

    async def listen(self) -> AsyncIterator[int]:
        while True:
            yield await self._queue.get()


class Seen(list[tuple[str, str]]):
    """What a follower told, in order."""

    def note(self, kind: str, subject: str) -> None:
        self.append((kind, subject))


async def _change(database: Database, subject: str) -> int:
    written = await database.write(lambda session: record_change(session, "model", subject))
    assert written.sequence is not None
    return written.sequence


async def _replicas(database: Database) -> set[str]:
    rows = await database.read(lambda session: session.scalars(select(Follower.replica_id)).all())
    return set(rows)


@pytest.mark.parametrize("seed", range(4))
async def test_concurrent_writers_never_outrun_a_follower(database: Database, seed: int) -> None:
    # Writers dawdle between taking their place in the work and committing, as real ones do.
    dice = random.Random(seed)
    pauses_s = [dice.random() * 0.01 for _ in range(60)]
    follower = ChangeFollower(database, f"f{seed}")
    seen: list[tuple[str, int]] = []
    follower.subscribe(lambda _, subject: seen.append((subject, follower.applied)))
    await follower.advance()
    start = follower.applied
    seen.clear()

    def work(session: Session, number: int) -> None:
        # Many, so that numbering them takes long enough to be overtaken.
        for part in range(10):
            record_change(session, "model", f"{seed}/{number}/{part}")
        session.execute(text("SELECT pg_sleep(:s)"), {"s": pauses_s[number]})

    async def follow(writers: "asyncio.Task[object]") -> None:
        while not writers.done():
            await follower.advance()

    async def write_all() -> list[int | None]:
        writes = (database.write(lambda s, n=n: work(s, n)) for n in range(len(pauses_s)))  # type: ignore[misc]
        return [written.sequence for written in await asyncio.gather(*writes)]

    writers: asyncio.Task[object] = asyncio.create_task(write_all())
    await follow(writers)
    await follower.advance()

    rows = await database.read(
        lambda session: session.execute(
            select(Change.sequence, Change.subject)
            .where(Change.sequence > start)
            .order_by(Change.sequence)
        ).all()
    )
    assert [subject for subject, _ in seen] == [row.subject for row in rows]
    assert follower.applied == rows[-1].sequence
    # ``applied`` is behind each change while it is told, so nobody settles on what is not dropped.
    numbered = {row.subject: row.sequence for row in rows}
    assert all(applied < numbered[subject] for subject, applied in seen)


@pytest.mark.usefixtures("_patient")
async def test_settle_waits_for_another_live_follower(database: Database) -> None:
    other = ChangeFollower(database, "other")
    await other.advance()
    steps = 0

    async def sleep(_: float) -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            await other.advance()

    mine = ChangeFollower(database, "mine", sleep=sleep)
    sequence = await _change(database, "m")

    assert await mine.settle(sequence, 30)
    assert steps == 3
    assert other.applied == sequence


@pytest.mark.usefixtures("_patient")
async def test_settle_gives_up_on_a_follower_that_does_not_move(database: Database) -> None:
    await ChangeFollower(database, "stuck").advance()
    now = 100.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    mine = ChangeFollower(database, "mine", sleep=sleep, clock=lambda: now)
    sequence = await _change(database, "m")

    assert not await mine.settle(sequence)
    assert now == pytest.approx(102.0, abs=0.05)


async def test_settle_does_not_wait_for_a_follower_that_died(database: Database) -> None:
    await database.write(
        lambda session: session.execute(
            insert(Follower).values(
                replica_id="dead", applied_sequence=0, seen_at=func.now() - timedelta(seconds=300)
            )
        )
    )
    sequence = await _change(database, "m")

    assert await ChangeFollower(database, "mine").settle(sequence)


async def test_settle_on_nothing_returns_at_once(database: Database) -> None:
    assert await ChangeFollower(database, "mine").settle(None)


async def test_settle_wakes_the_follower_itself(database: Database) -> None:
    follower = ChangeFollower(database, "mine")
    seen = Seen()
    follower.subscribe(seen.note)
    follower.start()
    sequence = await _change(database, "woken")

    assert await follower.settle(sequence, 30)
    await follower.stop()
    assert ("model", "woken") in seen
    assert follower.applied >= sequence


async def test_a_wakeup_brings_the_next_read_forward(database: Database) -> None:
    wire = Wire()
    follower = ChangeFollower(database, "far", wire)
    told = asyncio.Event()
    follower.subscribe(lambda _, subject: told.set() if subject == "hurry" else None)
    follower.start()
    sequence = await _change(database, "hurry")

    await wire.publish(sequence)
    async with asyncio.timeout(5):
        await told.wait()
    await follower.stop()


async def test_a_stopped_follower_is_not_waited_for(database: Database) -> None:
    follower = ChangeFollower(database, "leaving")
    follower.start()
    assert await follower.settle(await _change(database, "m"), 30)

    await follower.stop()

    assert await _replicas(database) == set()
    assert not follower.is_live


async def test_a_new_follower_begins_a_little_before_now(database: Database) -> None:
    # Its caches may have been filled just before its first read.
    sequence = await _change(database, "recent")
    follower = ChangeFollower(database, "new")
    seen = Seen()
    follower.subscribe(seen.note)

    await follower.advance()

    assert ("model", "recent") in seen
    assert follower.applied == sequence


async def test_a_follower_lives_through_an_outage(database: Database, line: Line) -> None:
    cut_off = Database.from_url(line.url, PoolLimits(size=2, overflow=0))
    follower = ChangeFollower(cut_off, "cut off")
    told = asyncio.Event()
    follower.subscribe(lambda _, subject: told.set() if subject == "missed" else None)
    follower.start()
    assert await follower.settle(await _change(database, "before"), 30)

    line.cut()
    await _change(database, "missed")
    line.mend()
    async with asyncio.timeout(15):
        await told.wait()
    assert follower.is_alive
    await follower.stop()
    await cut_off.close()


async def test_a_follower_cut_off_for_long_forgets_everything(database: Database) -> None:
    now = 0.0
    follower = ChangeFollower(database, "sleeper", clock=lambda: now)
    await follower.advance()
    seen = Seen()
    follower.subscribe(seen.note)

    now = 24 * 3600.0
    await follower.advance()

    assert seen == [(kind, EVERYTHING) for kind in KINDS]


async def test_a_database_restored_to_an_earlier_day_is_noticed(database: Database) -> None:
    await _change(database, "kept")
    later = await _change(database, "undone")
    follower = ChangeFollower(database, "mine")
    await follower.advance()
    seen = Seen()
    follower.subscribe(seen.note)

    await database.write(
        lambda session: session.execute(delete(Change).where(Change.sequence == later))
    )
    await follower.advance()

    assert seen == [(kind, EVERYTHING) for kind in KINDS]
    assert follower.applied < later


async def test_pruning_deletes_what_is_old_alone(database: Database) -> None:
    old = await _change(database, "old")
    new = await _change(database, "new")
    await database.write(
        lambda session: session.execute(
            update(Change).where(Change.sequence == old).values(at=func.now() - timedelta(days=2))
        )
    )

    await database.write(prune)

    left = await database.read(lambda session: session.scalars(select(Change.sequence)).all())
    assert old not in left
    assert new in left

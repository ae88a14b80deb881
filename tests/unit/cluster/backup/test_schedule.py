"""When backups are due; the clock is the test's."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta

import pytest

from cluster.backup.faults import BackupFailed
from cluster.backup.schedule import Plan, Schedule

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@dataclass(kw_only=True)
class Clock:
    """Time passes when somebody waits."""

    now: datetime = NOON
    stop: threading.Event = field(default_factory=threading.Event)

    def wait(self, seconds: float) -> bool:
        self.now += timedelta(seconds=seconds)
        return self.stop.is_set()


def attempts(
    plan: Plan,
    *,
    last: datetime | None,
    count: int,
    attempt: Callable[[Clock], None] = lambda _: None,
) -> list[datetime]:
    """When the first ``count`` backups are made."""
    clock = Clock()
    made: list[datetime] = []

    def make() -> None:
        made.append(clock.now)
        if len(made) == count:
            clock.stop.set()
        attempt(clock)

    Schedule(plan=plan, attempt=make, stop=clock.stop, now=lambda: clock.now, wait=clock.wait).run(
        last
    )
    return made


def test_daily_backups_are_made_at_two() -> None:
    made = attempts(Plan(), last=NOON - timedelta(hours=10), count=2)

    assert made == [
        datetime(2026, 11, 24, 2, 0, tzinfo=UTC),
        datetime(2026, 11, 25, 2, 0, tzinfo=UTC),
    ]


def test_another_time_of_day_may_be_chosen() -> None:
    made = attempts(Plan(daily_at=time(13, 30)), last=NOON - timedelta(hours=22), count=1)

    assert made == [datetime(2026, 11, 23, 13, 30, tzinfo=UTC)]


def test_backups_may_be_made_every_five_minutes() -> None:
    made = attempts(Plan(every=timedelta(minutes=5)), last=NOON - timedelta(minutes=1), count=3)

    assert made == [NOON + timedelta(minutes=minutes) for minutes in (4, 9, 14)]


@pytest.mark.parametrize("last", [None, NOON - timedelta(days=2)])
def test_one_that_is_overdue_is_made_at_once(last: datetime | None) -> None:
    assert attempts(Plan(), last=last, count=1) == [NOON]


def test_a_failed_one_is_tried_again_in_ten_minutes() -> None:
    def fail(clock: Clock) -> None:
        raise BackupFailed("no room")

    made = attempts(Plan(), last=None, count=3, attempt=fail)

    assert made == [NOON + timedelta(minutes=minutes) for minutes in (0, 10, 20)]


def test_a_slow_one_is_followed_by_the_next_without_catching_up() -> None:
    def linger(clock: Clock) -> None:
        clock.now += timedelta(minutes=12)

    made = attempts(Plan(every=timedelta(minutes=5)), last=None, count=3, attempt=linger)

    assert made == [NOON + timedelta(minutes=minutes) for minutes in (0, 12, 24)]


def test_nothing_is_made_after_the_end_was_asked_for() -> None:
    clock = Clock()
    clock.stop.set()
    made: list[datetime] = []

    Schedule(
        plan=Plan(),
        attempt=lambda: made.append(clock.now),
        stop=clock.stop,
        now=lambda: clock.now,
        wait=clock.wait,
    ).run(None)

    assert made == []

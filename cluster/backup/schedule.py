"""When the next backup is due, and the loop of the process that makes them."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from cluster.errors import PlatformError

logger = logging.getLogger(__name__)

DAILY_AT = time(2, 0)
SHORTEST = timedelta(minutes=5)
#: After a failure the next attempt does not wait for tomorrow.
RETRY = timedelta(minutes=10)
#: The clock is looked at again after so long: it may jump, and a machine may sleep.
_LOOK_AGAIN_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Daily at a time of day in UTC, or every so often."""

    daily_at: time = DAILY_AT
    every: timedelta | None = None

    @property
    def period(self) -> timedelta:
        """Between two backups."""
        return self.every or timedelta(days=1)

    def next_after(self, moment: datetime) -> datetime:
        """The first time that a backup is due after ``moment``."""
        if self.every is not None:
            return moment + self.every
        due = datetime.combine(moment.astimezone(UTC).date(), self.daily_at, UTC)
        return due if due > moment else due + timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """
    The loop.

    Args:
        plan: When.
        attempt: Makes one backup; raises PlatformError if it fails.
        stop: Set from outside to end the loop.
        now: For tests.
        wait: Seconds to wait for the end, which it says; for tests.
    """

    plan: Plan
    attempt: Callable[[], None]
    stop: threading.Event
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    wait: Callable[[float], bool] | None = None

    def run(self, last: datetime | None) -> None:
        """
        Make backups until told to stop; one that should have been made meanwhile is made at once.

        Args:
            last: When the newest backup was made, if there is one.
        """
        started = self.now()
        is_overdue = last is None or started - last >= self.plan.period
        due = started if is_overdue else self._first_due(last or started, started)
        while not self._wait_until(due):
            due = self._attempt()

    def _first_due(self, last: datetime, started: datetime) -> datetime:
        return max(self.plan.next_after(last), started)

    def _attempt(self) -> datetime:
        """Make one backup; when the next is due."""
        begun = self.now()
        try:
            self.attempt()
        except PlatformError:
            # It has been told by whoever made the attempt; the process must live for the next.
            return min(self.now() + min(RETRY, self.plan.period), self.plan.next_after(begun))
        # After a long one, what is past is skipped rather than caught up with.
        return max(self.plan.next_after(begun), self.now())

    def _wait_until(self, due: datetime) -> bool:
        """Whether the end was asked for before then."""
        logger.info("the next backup is due at %s", due.isoformat(timespec="seconds"))
        wait = self.wait or self.stop.wait
        while (left_s := (due - self.now()).total_seconds()) > 0:
            if wait(min(left_s, _LOOK_AGAIN_S)):
                return True
        return self.stop.is_set()

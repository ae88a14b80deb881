"""How old the last good backup is, as a metric that every ingress replica on any node reports."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from cluster.errors import PlatformError
from cluster.metrics import BACKUP_AGE_SECONDS
from serve_app.registry.backup_events import find_last_backup
from serve_app.registry.database import Database

REPORT_PERIOD_S = 15.0


class BackupAge:
    """
    Asks the registry now and then, and goes on counting while that is away.

    Args:
        database: The registry.
        clock: Monotonic seconds; for tests.
        now: The time of day; for tests.
        record: Takes the age in seconds.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        record: Callable[[float], None] = BACKUP_AGE_SECONDS.record,
    ) -> None:
        self._database = database
        self._clock = clock
        self._now = now
        self._record = record
        self._due_s = clock()
        self._last: datetime | None = None
        self._task: asyncio.Task[None] | None = None

    def report_soon(self) -> None:
        """Set the metric in the background, four times a minute at most; returns at once."""
        if self._clock() >= self._due_s and (self._task is None or self._task.done()):
            self._due_s = self._clock() + REPORT_PERIOD_S
            self._task = asyncio.get_running_loop().create_task(self.report())

    async def report(self) -> None:
        """Set the metric; a platform that was never backed up has none."""
        # While the registry is away, which others tell, what was known grows older all the same.
        with suppress(PlatformError):
            self._last = await self._database.read(find_last_backup)
        if self._last is not None:
            self._record((self._now() - self._last).total_seconds())

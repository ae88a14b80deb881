"""
Keeps a started platform up until it is told to stop: what dies is started again, with backoff.

Ray restarts replicas by itself; here are the things that nobody else restarts: PostgreSQL,
Valkey, and the Ray head with everything under it.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from cluster.errors import PlatformError
from cluster.launch import Platform

logger = logging.getLogger(__name__)

LOOK_INTERVAL_S = 1.0
FIRST_DELAY_S = 1.0
MOST_DELAY_S = 30.0
#: A part that lived this long is forgiven its earlier deaths.
STABLE_S = 60.0


@dataclass(slots=True)
class Backoff:
    """When a part may be started again: at once after a long life, later after each short one."""

    clock: Callable[[], float] = time.monotonic
    _attempts: int = 0
    _last_s: float = field(default=float("-inf"))

    @property
    def is_due(self) -> bool:
        """Whether the next attempt may be made now."""
        return self.clock() >= self._last_s + self.delay_s

    @property
    def delay_s(self) -> float:
        """Seconds between the last attempt and the next."""
        if self._attempts == 0:
            return 0.0
        return float(min(MOST_DELAY_S, FIRST_DELAY_S * 2 ** (self._attempts - 1)))

    def attempt(self) -> None:
        """Note that one is made now."""
        if self.clock() >= self._last_s + self.delay_s + STABLE_S:
            self._attempts = 0
        self._attempts += 1
        self._last_s = self.clock()


class Supervisor:
    """Watches one platform from the main thread."""

    def __init__(self, platform: Platform, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._platform = platform
        self._databases = Backoff(clock=clock)
        self._head = Backoff(clock=clock)

    def run(self, stop: threading.Event) -> None:
        """Look every second until ``stop`` is set."""
        while not stop.wait(LOOK_INTERVAL_S):
            self.look()

    def look(self) -> None:
        """One look: start again what has died and is due."""
        platform = self._platform
        missing = platform.databases.missing
        if missing and self._databases.is_due:
            self._databases.attempt()
            logger.warning("embedded server of %s died, starting it again", ", ".join(missing))
            self._try(self._revive)
        head = platform.head
        if (head is None or not head.is_running) and self._head.is_due:
            self._head.attempt()
            logger.warning("the Ray head died, starting it again")
            self._try(platform.restart_head)

    def _revive(self) -> None:
        if self._platform.revive_databases():
            # Replicas read the URLs once, in their constructors.
            self._platform.restart_head()

    def _try(self, start: Callable[[], object]) -> None:
        try:
            start()
        except PlatformError as error:
            # The loop must survive: the next attempt comes after the backoff.
            logger.error("%s", error.message)  # noqa: TRY400 - the sentence is made for people

"""
Follows the ``changes`` sequence for one replica, and lets writers wait until every replica has.

    write commits sequence n ─► each follower reads it (0.5 s, or woken) ─► caches drop what changed
                             ─► its row in ``followers`` says n ─► ``settle(n)`` returns
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from cluster.errors import PlatformError
from serve_app.registry.database import Database
from serve_app.registry.follower_rows import BATCH, Poll, depart, poll
from serve_app.registry.pruning import KEPT_CHANGES, prune
from serve_app.registry.settling import LIVE_S, POLL_TIMEOUT_S, SETTLE_S, Settling, Wakeups

logger = logging.getLogger(__name__)

#: Seconds between two reads when nothing wakes the follower.
PERIOD_S = 0.5
PRUNE_PERIOD_S = 600.0
#: Seconds cut off after which changes may have been pruned unseen.
LONGEST_GAP_S = KEPT_CHANGES.total_seconds() / 2
#: The subject that stands for everything of a kind, after changes that could not be followed.
EVERYTHING = "*"
KINDS = ("model", "user", "key", "limits")

Callback = Callable[[str, str], None]


class ChangeFollower:
    """
    One replica's place in the sequence.

    Callbacks run on the event loop, in the order of the sequence, and must not block; a subject of
    ``EVERYTHING`` means that all of that kind may have changed.
    """

    def __init__(
        self,
        database: Database,
        replica_id: str,
        wake: Wakeups | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._replica_id = replica_id[:128]
        self._wakeups = wake
        self._clock = clock
        self._sleep = sleep
        self._callbacks: list[Callback] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._applied: int | None = None
        self._woken = asyncio.Event()
        self._turn = asyncio.Condition()
        self._prune_at = 0.0
        self._read_at = clock()
        self._settling = Settling(self, database, wake, clock=clock, sleep=sleep)
        self.heard_at = float("-inf")
        """Clock reading of the registry's last answer."""
        self.live_until = float("-inf")
        """Clock reading until which this replica may trust what it has cached."""

    @property
    def applied(self) -> int:
        """The last sequence whose callbacks have run; 0 before the first read."""
        return self._applied or 0

    @property
    def is_alive(self) -> bool:
        """False once a started follower's task has ended, which only a restart mends."""
        return all(not task.done() for task in self._tasks)

    @property
    def is_live(self) -> bool:
        """True while the registry was read within ``LIVE_S``."""
        return self._clock() < self.live_until

    def subscribe(self, callback: Callback) -> None:
        """Call ``callback(kind, subject)`` for every change from now on."""
        self._callbacks.append(callback)

    def start(self) -> None:
        """Begin to follow, whether or not the registry can be reached yet."""
        if not self._tasks:
            self._tasks.append(asyncio.create_task(self._run(), name="changes"))
            if self._wakeups is not None:
                self._tasks.append(asyncio.create_task(self._listen(self._wakeups), name="wakeups"))

    async def stop(self) -> None:
        """Stop following and take this replica off the list that writers wait for."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.live_until = float("-inf")
        if tasks:
            with suppress(PlatformError):
                # Behind a read under way, whose thread would say again that this replica is there.
                await self._database.write(
                    lambda session: depart(session, self._replica_id),
                    timeout_s=POLL_TIMEOUT_S,
                    is_urgent=True,
                )

    async def advance(self) -> None:
        """
        Read and apply what is new, and say so in ``followers``.

        Raises:
            RegistryUnavailable: Then nothing was applied.
        """
        asked_at = self._clock()
        written = await self._database.write(
            lambda session: poll(session, self._replica_id, self._applied),
            timeout_s=POLL_TIMEOUT_S,
            is_urgent=True,
        )
        self.heard_at = self._clock()
        was_applied = self._applied
        self._apply(written.value, is_gap=asked_at - self._read_at > LONGEST_GAP_S)
        self._read_at = asked_at
        if self._applied != was_applied:
            await self._database.write(
                lambda session: poll(session, self._replica_id, self._applied, is_only_saying=True),
                timeout_s=POLL_TIMEOUT_S,
                is_urgent=True,
            )
        # Counted from the question: an answer that took long is that much older.
        self.live_until = asked_at + LIVE_S
        async with self._turn:
            self._turn.notify_all()

    def wake(self) -> None:
        """Read as soon as may be."""
        self._woken.set()

    async def wait_live(self) -> None:
        """Return once the registry was read."""
        async with self._turn:
            await self._turn.wait_for(lambda: self.is_live)

    async def wait_applied(self, sequence: int, timeout_s: float) -> bool:
        """Return once this replica has applied ``sequence``; False after ``timeout_s``."""
        if not self._tasks:
            # A command line follows nothing and caches nothing.
            return True
        try:
            async with asyncio.timeout(timeout_s), self._turn:
                await self._turn.wait_for(lambda: self.applied >= sequence)
        except TimeoutError:
            return False
        return True

    async def settle(self, sequence: int | None, timeout_s: float = SETTLE_S) -> bool:
        """As ``Settling.settle``."""
        return await self._settling.settle(sequence, timeout_s)

    async def confirm(self, sequence: int | None, timeout_s: float = SETTLE_S) -> None:
        """As ``Settling.confirm``."""
        await self._settling.confirm(sequence, timeout_s)

    def _apply(self, found: Poll, *, is_gap: bool) -> None:
        if found.is_broken or is_gap:
            for kind in KINDS:
                self._tell(kind, EVERYTHING)
        for kind, subject in found.changes:
            self._tell(kind, subject)
        self._applied = found.sequence
        if len(found.changes) == BATCH:
            self._woken.set()

    def _tell(self, kind: str, subject: str) -> None:
        for callback in self._callbacks:
            callback(kind, subject)

    async def _run(self) -> None:
        was_failing = False
        while True:
            self._woken.clear()
            try:
                await self.advance()
                await self._prune_when_due()
                was_failing = False
            except PlatformError as error:
                if not was_failing:
                    logger.warning("changes cannot be followed now: %s", error)
                was_failing = True
            except Exception:
                # A replica that stopped following would serve stale answers for good.
                logger.exception("following changes failed; going on")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), PERIOD_S)

    async def _prune_when_due(self) -> None:
        if self._clock() >= self._prune_at:
            self._prune_at = self._clock() + PRUNE_PERIOD_S
            await self._database.write(prune)

    async def _listen(self, wakeups: Wakeups) -> None:
        async for sequence in wakeups.listen():
            if sequence > self.applied:
                self._woken.set()

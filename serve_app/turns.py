"""
Fair turns at something dear: so many at a time, and so many of them one user's.

Who could not be served in time is told so at once, with the time after which it is worth another
try; nobody waits for a turn that would come too late.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from cluster.errors import Overloaded, PlatformError, QuotaExceeded

#: Weight of the newest turn in the duration that is expected of the next.
_NEWEST = 0.2
#: What the first turn is taken to last.
_FIRST_GUESS_S = 0.5
_RETRY_AFTER_MAX_S = 60


class Turns:
    """
    Turns in one process; who waits for one of their own leaves the others' free.

    Args:
        total: Turns at a time.
        per_user: Turns of one user at a time.
        clock: Seconds.
    """

    def __init__(
        self, *, total: int, per_user: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total = total
        self._free = asyncio.Semaphore(total)
        self._per_user = per_user
        self._clock = clock
        self._own: dict[str, asyncio.Semaphore] = {}
        self._interested: Counter[str] = Counter()
        self._turn_s = _FIRST_GUESS_S

    @asynccontextmanager
    async def turn(self, user_id: str, *, patience_s: float) -> AsyncIterator[None]:
        """
        Hold a turn while the block runs.

        Args:
            user_id: Whose turn.
            patience_s: Seconds until the turn must be over.

        Raises:
            QuotaExceeded: The user's own turns will take up all that time.
            Overloaded: Everybody's will, or did.
        """
        self.require_room(user_id, patience_s=patience_s)
        own = self._own.setdefault(user_id, asyncio.Semaphore(self._per_user))
        self._interested[user_id] += 1
        try:
            await self._acquire(user_id, own, patience_s)
            began_s = self._clock()
            try:
                yield
            finally:
                self._turn_s += _NEWEST * (self._clock() - began_s - self._turn_s)
                self._free.release()
                own.release()
        finally:
            self._interested[user_id] -= 1
            if not self._interested[user_id]:
                del self._interested[user_id], self._own[user_id]

    def require_room(self, user_id: str, *, patience_s: float) -> None:
        """Raise as ``turn`` does if a turn taken now would not be over in time."""
        wait_s = self._wait_s(self._interested[user_id])
        # A free turn is always given: that the last ones took long says little of this one.
        if wait_s and wait_s + self._turn_s > patience_s:
            raise self._refusal(self._interested[user_id])

    def _wait_s(self, own_before: int) -> float:
        """Seconds before a turn, as far as can be told from those who wait and the last turns."""
        # Whoever waits for turns of their own competes with as many as they may hold.
        rivals = sum(min(count, self._per_user) for count in self._interested.values())
        round_s = self._turn_s * max(1.0, rivals / self._total)
        own_rounds = own_before // self._per_user
        if own_rounds:
            return own_rounds * round_s
        return 0.0 if rivals < self._total else round_s

    async def _acquire(self, user_id: str, own: asyncio.Semaphore, patience_s: float) -> None:
        # Time is left for the turn itself, and for telling in good time that there is none.
        until_s = max(patience_s - self._turn_s, patience_s / 2)
        try:
            async with asyncio.timeout(until_s):
                await own.acquire()
                try:
                    await self._free.acquire()
                except BaseException:
                    own.release()
                    raise
        except TimeoutError as error:
            raise self._refusal(self._interested[user_id] - 1) from error

    def _refusal(self, own_before: int) -> PlatformError:
        wait_s = self._wait_s(own_before)
        retry_after_s = max(1, min(_RETRY_AFTER_MAX_S, math.ceil(wait_s)))
        if own_before >= self._per_user:
            return QuotaExceeded(
                f"{own_before} uploads of yours are being vetted or wait for it, {self._per_user} "
                "at a time: send this one again when they are done",
                retry_after_s=retry_after_s,
            )
        return Overloaded(
            "too many uploads are being vetted: send this one again", retry_after_s=retry_after_s
        )

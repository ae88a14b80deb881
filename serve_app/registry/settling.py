"""Lets a writer wait until every live replica has applied what it wrote."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from cluster.errors import RegistryUnavailable
from serve_app.registry.database import Database
from serve_app.registry.follower_rows import slowest_applied
from serve_app.registry.refusals import unavailable

logger = logging.getLogger(__name__)

#: Seconds without a read after which a replica no longer counts as up to date, to itself or others.
LIVE_S = 3.0
#: Seconds one read may take before the registry counts as stuck.
POLL_TIMEOUT_S = 5.0
#: Seconds that a write waits for every replica to apply it.
SETTLE_S = 2.0
#: Seconds between two looks at the other followers meanwhile.
STEP_S = 0.02
#: The last seconds of these without an answer of the registry's: it is away, not a replica slow.
SILENCE_S = 1.0


class Wakeups(Protocol):
    """Carries "there is a new sequence" between replicas faster than the next read."""

    async def publish(self, sequence: int) -> None:
        """Tell the others; silently nothing where that is impossible."""
        ...

    def listen(self) -> AsyncIterator[int]:
        """Sequences that others published; goes on for ever, across outages."""
        ...


class Follower(Protocol):
    """This replica's place in the sequence."""

    heard_at: float

    def wake(self) -> None:
        """Read as soon as may be."""
        ...

    async def wait_applied(self, sequence: int, timeout_s: float) -> bool:
        """Return once this replica has applied ``sequence``; False after ``timeout_s``."""
        ...


class Settling:
    """Waits for this replica first, then looks at the others, one look for all who wait."""

    def __init__(
        self,
        follower: Follower,
        database: Database,
        wakeups: Wakeups | None,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._follower = follower
        self._database = database
        self._wakeups = wakeups
        self._clock = clock
        self._sleep = sleep
        self._look: asyncio.Task[int | None] | None = None
        self._seen_at = float("-inf")

    async def settle(self, sequence: int | None, timeout_s: float) -> bool:
        """
        Return once every live replica has applied ``sequence``, or after ``timeout_s``.

        Returns:
            Whether all have; False is logged, and holds nothing up for longer.
        """
        try:
            return await self._settle(sequence, timeout_s)
        except RegistryUnavailable:
            return False

    async def confirm(self, sequence: int | None, timeout_s: float) -> None:
        """
        As ``settle``, for a caller who can ask again and must not be told yes for a perhaps.

        Raises:
            RegistryUnavailable: It stopped answering before it could be seen that all have.  A
                replica that is only slow is none of the caller's business.
        """
        try:
            await self._settle(sequence, timeout_s)
        except RegistryUnavailable as error:
            raise RegistryUnavailable(
                "the change is stored, but the registry stopped answering before every replica was "
                "seen to follow it: repeat the request to be sure",
                **error.context,
            ) from error

    async def _settle(self, sequence: int | None, timeout_s: float) -> bool:
        if sequence is None:
            return True
        begun = self._clock()
        self._follower.wake()
        if self._wakeups is not None:
            await self._wakeups.publish(sequence)
        is_applied = False
        try:
            is_applied = await self._is_applied(sequence, begun + timeout_s)
            if not is_applied:
                self._refuse_silence(begun)
        finally:
            if not is_applied:
                logger.warning(
                    "not every replica has applied change %d in time",
                    sequence,
                    extra={"action": "change_unsettled", "sequence": sequence},
                )
        return is_applied

    def _refuse_silence(self, begun: float) -> None:
        heard_at = max(self._follower.heard_at, self._seen_at, begun)
        if self._clock() - heard_at >= SILENCE_S:
            raise unavailable("the registry does not answer now: try again", reason="silence")

    async def _is_applied(self, sequence: int, deadline: float) -> bool:
        if not await self._follower.wait_applied(sequence, deadline - self._clock()):
            return False
        while (left_s := deadline - self._clock()) > 0:
            if await self._have_others_applied(sequence, left_s):
                return True
            await self._sleep(STEP_S)
        return False

    async def _have_others_applied(self, sequence: int, timeout_s: float) -> bool:
        # Shared by all who settle now: a look begun before a commit cannot show its sequence.
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._slowest())
            # Asked for, since nobody may wait for it any more.
            self._look.add_done_callback(lambda look: look.cancelled() or look.exception())
        look = self._look
        done, _ = await asyncio.wait({look}, timeout=timeout_s)
        if not done:
            return False
        slowest = look.result()
        return slowest is None or slowest >= sequence

    async def _slowest(self) -> int | None:
        slowest = await self._database.read(
            lambda session: slowest_applied(session, LIVE_S),
            timeout_s=POLL_TIMEOUT_S,
            is_urgent=True,
        )
        self._seen_at = self._clock()
        return slowest

"""Fair turns at something dear: so many at a time, and so many of them one user's."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cluster.errors import Overloaded


class Turns:
    """
    Turns in one process; who waits for one of their own leaves the others' free.

    Args:
        total: Turns at a time.
        per_user: Turns of one user at a time.
        patience_s: Seconds anybody waits.
    """

    def __init__(self, *, total: int, per_user: int, patience_s: float) -> None:
        self._total = asyncio.Semaphore(total)
        self._per_user = per_user
        self._patience_s = patience_s
        self._own: dict[str, asyncio.Semaphore] = {}
        self._interested: Counter[str] = Counter()

    @asynccontextmanager
    async def turn(self, user_id: str) -> AsyncIterator[None]:
        """
        Hold a turn while the block runs.

        Raises:
            Overloaded: None came within the patience.
        """
        own = self._own.setdefault(user_id, asyncio.Semaphore(self._per_user))
        self._interested[user_id] += 1
        try:
            await self._acquire(own)
            try:
                yield
            finally:
                self._total.release()
                own.release()
        finally:
            self._interested[user_id] -= 1
            if not self._interested[user_id]:
                del self._interested[user_id], self._own[user_id]

    async def _acquire(self, own: asyncio.Semaphore) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                await own.acquire()
                try:
                    await self._total.acquire()
                except BaseException:
                    own.release()
                    raise
        except TimeoutError as error:
            raise Overloaded(
                "too many uploads are being vetted: send this one again", retry_after_s=5
            ) from error

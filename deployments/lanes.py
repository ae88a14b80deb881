"""
The places in which a Predictor runs calls: one version holds at most half of them.

A version whose calls run long is told to come back instead of queueing here, so that its backlog
never stands between other versions and their half.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cluster.errors import Overloaded

#: A call that has run for longer than this makes its version a slow one.
SLOW_S = 1.0


@dataclass(kw_only=True, eq=False)
class _Waiter:
    key: str
    woken: "asyncio.Future[None]"


class Lanes:
    """``count`` places on one event loop."""

    def __init__(self, count: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._count = count
        self._half = max(count // 2, 1)
        self._clock = clock
        self._held: Counter[str] = Counter()
        self._begun_s: dict[str, deque[float]] = {}
        self._waiters: deque[_Waiter] = deque()

    @property
    def busy(self) -> int:
        """Places taken."""
        return self._held.total()

    @asynccontextmanager
    async def lane(self, key: str) -> AsyncIterator[None]:
        """
        A place for the version ``key``, waited for in order of arrival.

        Raises:
            Overloaded: The version's calls run long and it holds its half already.
        """
        if not self._is_free_for(key):
            self._refuse_slow(key)
            waiter = _Waiter(key=key, woken=asyncio.get_running_loop().create_future())
            self._waiters.append(waiter)
            try:
                await waiter.woken
            except BaseException:
                self._withdraw(waiter)
                raise
        else:
            self._take(key)
        begun_s = self._clock()
        self._begun_s.setdefault(key, deque()).append(begun_s)
        try:
            yield
        finally:
            self._begun_s[key].remove(begun_s)
            if not self._begun_s[key]:
                del self._begun_s[key]
            self._release(key)

    def _is_free_for(self, key: str) -> bool:
        return self.busy < self._count and self._held[key] < self._half

    def _refuse_slow(self, key: str) -> None:
        begun_s = self._begun_s.get(key)
        if begun_s and self._held[key] >= self._half and self._clock() - begun_s[0] > SLOW_S:
            raise Overloaded(
                "this model's running predictions take long and no more of them fit: try again "
                "later, with fewer rows",
                retry_after_s=2,
            )

    def _take(self, key: str) -> None:
        self._held[key] += 1

    def _release(self, key: str) -> None:
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key]
        self._wake()

    def _wake(self) -> None:
        for waiter in list(self._waiters):
            if self._is_free_for(waiter.key):
                self._waiters.remove(waiter)
                self._take(waiter.key)
                waiter.woken.set_result(None)

    def _withdraw(self, waiter: _Waiter) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        elif waiter.woken.done() and not waiter.woken.cancelled():
            self._release(waiter.key)  # woken and given up in the same turn of the loop

"""
Tokens of one bucket that a process holds, and when it may ask for more.

A lease is taken before it is spent, so all replicas together never exceed the limit; what an idle
one holds goes back.  At most one call a bucket in ``CALL_PERIOD_S``: requests that come meanwhile
wait for it together.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable

from serve_app.security.gcra import LEASE_SCRIPT, LocalBucket
from serve_app.security.shared_state import Scripts, SharedStateAway

CALL_PERIOD_S = 0.1
#: Tokens that nobody asked for in this time go back.
IDLE_S = 1.0
#: A lease aims to cover this much of the present demand.
COVERED_S = 0.15
#: The most of its own share that a process remembers to charge after an outage.
MAX_DEBT = 1_000_000


class Lease:
    """One bucket as one process sees it."""

    def __init__(
        self, key: str, scripts: Scripts, *, replicas: int, clock: Callable[[], float]
    ) -> None:
        self._key = key
        self._scripts = scripts
        self._replicas = replicas
        self._clock = clock
        self._local = LocalBucket()
        self._debt = 0
        self._asked_at = -math.inf
        self._taken_since = 0
        self._waiting = 0
        self._flight: asyncio.Task[None] | None = None
        self._return: asyncio.TimerHandle | None = None
        self.limit = 1
        """Tokens a minute when last asked for one."""
        self.tokens = 0
        """In hand."""
        self.left = 0
        """Left in the shared bucket when it was last asked."""
        self.blocked_until = -math.inf
        """Until then the bucket is known to be empty."""
        self.used_at = clock()
        self.is_away = False
        """Whether the last call found no Valkey."""

    def try_take(self) -> bool:
        """Take a token that is in hand."""
        if self.tokens <= 0:
            return False
        self.tokens -= 1
        self._taken_since += 1
        self.used_at = self._clock()
        return True

    async def take(self, limit: int) -> float:
        """
        Take a token, asking for a lease where none is in hand.

        Returns:
            0 if there was one, else the seconds until there may be.
        """
        while not self.try_take():
            now = self._clock()
            if now < self.blocked_until:
                return self.blocked_until - now
            await self._await_lease(limit)
            if self.is_away:
                return self._take_alone(limit)
        return 0.0

    async def give_back(self, limit: int) -> None:
        """Return what is in hand, as when the process ends."""
        tokens, self.tokens = self.tokens, 0
        if tokens > 0:
            with contextlib.suppress(SharedStateAway):
                await self._scripts.run(LEASE_SCRIPT, [self._key], [limit, -tokens, 0])

    def _take_alone(self, limit: int) -> float:
        # Each replica counts for itself, so each has its share of the limit.
        wait_s = self._local.take(max(1.0, limit / self._replicas), self._clock())
        if wait_s == 0:
            self._debt = min(self._debt + 1, MAX_DEBT)
        return wait_s

    async def _await_lease(self, limit: int) -> None:
        self._waiting += 1
        if self._flight is None or self._flight.done():
            self._flight = asyncio.create_task(self._ask(limit))
        flight = self._flight
        try:
            # Shielded: the others still wait for it when this request's client has gone.
            await asyncio.shield(flight)
        finally:
            self._waiting -= 1

    async def _ask(self, limit: int) -> None:
        pause_s = self._asked_at + CALL_PERIOD_S - self._clock()
        if pause_s > 0 and not self.is_away:
            await asyncio.sleep(pause_s)
        now = self._clock()
        want = max(1, self._waiting, self._demand(now))
        charge, self._debt = self._debt, 0
        self._asked_at, self._taken_since = now, 0
        try:
            granted, left, wait_us = await self._scripts.run(
                LEASE_SCRIPT, [self._key], [limit, charge, want]
            )
        except SharedStateAway:
            self._debt, self.is_away = charge, True
            return
        self.is_away = False
        self.tokens += granted
        self.left = left
        if granted < want:
            self.blocked_until = self._clock() + max(wait_us / 1e6, CALL_PERIOD_S)
        if self.tokens:
            self._return_when_idle(limit)

    def _demand(self, now: float) -> int:
        # Only a recent past says something about the next moment.
        elapsed_s = now - self._asked_at
        if elapsed_s > 1:
            return 1
        return math.ceil(self._taken_since / max(elapsed_s, CALL_PERIOD_S) * COVERED_S)

    def _return_when_idle(self, limit: int) -> None:
        if self._return is not None:
            self._return.cancel()
        loop = asyncio.get_running_loop()
        self._return = loop.call_later(IDLE_S, self._on_idle, limit)

    def _on_idle(self, limit: int) -> None:
        self._return = None
        if self.tokens <= 0:
            return
        if self._clock() - self.used_at < IDLE_S:
            self._return_when_idle(limit)
            return
        self._flight = asyncio.get_running_loop().create_task(self.give_back(limit))

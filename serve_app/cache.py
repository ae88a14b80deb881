"""
Valkey as the replicas share it: a byte cache, and the wake-up channel of the change follower.

Nothing here is needed for a correct answer, so it fails open: a call that takes more than its
budget counts as a miss, and for a while nobody asks again.
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from cluster.errors import PlatformError
from cluster.metrics import CACHE_LOOKUPS, FAIL_OPEN

T = TypeVar("T")
logger = logging.getLogger(__name__)

#: Seconds a call may take; a slow cache is worse than none.
BUDGET_S = 0.05
#: Seconds for which a server that failed is not asked; then a probe in the background decides.
PAUSE_S = 5.0
#: Seconds that the probe, the health check and a new subscription may take.
CONNECT_BUDGET_S = 2.0
MAX_CONNECTIONS = 20
CHANNEL = "changes"
#: Seconds of silence after which the listener makes sure that its connection lives.
LISTEN_PERIOD_S = 5.0
#: What a Valkey that is away raises, directly or through the budget.
_FAILURES = (RedisError, OSError, TimeoutError)


class ValkeyCache:
    """
    One process's client; every key starts with ``prefix``.

    Args:
        url: ``redis://`` or ``rediss://``, credentials included.
        prefix: What all keys of this installation start with.
        client_name: How the server's own lists name this process.
        longest_ttl_s: The most seconds that a value lives, whatever its kind asks for.
    """

    def __init__(
        self,
        url: str,
        prefix: str,
        *,
        client_name: str = "slipway",
        longest_ttl_s: float = math.inf,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client: Redis = Redis.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            client_name=client_name,
            socket_connect_timeout=CONNECT_BUDGET_S,
            socket_timeout=CONNECT_BUDGET_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._prefix = prefix
        self._longest_ttl_s = longest_ttl_s
        self._sleep = sleep
        self._probe: asyncio.Task[None] | None = None

    @property
    def is_available(self) -> bool:
        """False from a failed call until the server has answered again."""
        return self._probe is None

    async def get(self, key: str) -> bytes | None:
        """The value, or None if there is none or Valkey is away."""
        value = await self._within_budget(lambda: self._client.get(self._prefix + key), None)
        CACHE_LOOKUPS.record(cache="valkey", outcome="miss" if value is None else "hit")
        return value if isinstance(value, bytes) else None

    async def set(self, key: str, value: bytes, ttl_s: float) -> bool:
        """Keep a value for ``ttl_s`` seconds, or the longest allowed; whether that was done."""
        milliseconds = max(1, int(min(ttl_s, self._longest_ttl_s) * 1000))
        return bool(
            await self._within_budget(
                lambda: self._client.set(self._prefix + key, value, px=milliseconds), False
            )
        )

    async def delete(self, *keys: str) -> bool:
        """Forget values; False where that could not be done: they may live until they expire."""
        names = [self._prefix + key for key in keys]
        return await self._within_budget(lambda: self._client.delete(*names), None) is not None

    async def ping(self) -> float:
        """
        Milliseconds of one round trip.

        Raises:
            PlatformError: If there was none within two seconds.
        """
        started = time.perf_counter()
        try:
            async with asyncio.timeout(CONNECT_BUDGET_S):
                await self._client.ping()
        except _FAILURES as error:
            raise PlatformError(f"Valkey does not answer: {type(error).__name__}") from error
        return (time.perf_counter() - started) * 1000

    async def publish(self, sequence: int) -> None:
        """Wake the followers of other replicas; nothing where Valkey is away."""
        await self._within_budget(
            lambda: self._client.publish(self._prefix + CHANNEL, str(sequence)), None
        )

    async def listen(self) -> AsyncIterator[int]:
        """Sequences that others publish, for ever: an outage is waited out."""
        while True:
            with suppress(*_FAILURES):
                async with self._client.pubsub() as subscription:
                    async for sequence in self._messages(subscription):
                        yield sequence
            await self._sleep(1.0)

    async def close(self) -> None:
        """Close the connections."""
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.gather(self._probe, return_exceptions=True)
            self._probe = None
        await self._client.aclose()

    async def _messages(self, subscription: PubSub) -> AsyncIterator[int]:
        async with asyncio.timeout(CONNECT_BUDGET_S):
            await subscription.subscribe(self._prefix + CHANNEL)
        while True:
            message = await subscription.get_message(
                ignore_subscribe_messages=True, timeout=LISTEN_PERIOD_S
            )
            if message is None:
                # Silence looks the same as a connection that was cut: ask.
                await subscription.ping()
                continue
            data = message["data"]
            if isinstance(data, bytes) and data.isdigit():
                yield int(data)

    async def _within_budget(self, call: Callable[[], Awaitable[T]], otherwise: T) -> T:
        if self._probe is not None:
            FAIL_OPEN.record(what="cache")
            return otherwise
        try:
            async with asyncio.timeout(BUDGET_S):
                return await call()
        except _FAILURES as error:
            self._pause(error)
            FAIL_OPEN.record(what="cache")
            return otherwise

    def _pause(self, error: Exception) -> None:
        if self._probe is None:
            logger.warning("Valkey is away (%s): going on without it", type(error).__name__)
            self._probe = asyncio.create_task(self._await_return(), name="cache-probe")

    async def _await_return(self) -> None:
        while True:
            await self._sleep(PAUSE_S)
            with suppress(PlatformError):
                # With time to connect, which the budget of a call may not allow.
                await self.ping()
                break
        self._probe = None
        logger.info("Valkey answers again")

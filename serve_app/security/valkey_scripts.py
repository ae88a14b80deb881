"""Scripts in Valkey for limits and lockout: bounded in time, refused at once while it is away."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from hashlib import sha1
from typing import Any, Self, TypeVar

import redis.asyncio as valkey
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import NoScriptError, RedisError

from serve_app.security.shared_state import SharedStateAway

log = logging.getLogger(__name__)

#: A call that takes twice as long counts as Valkey being away.
TIMEOUT_S = 0.5
#: Calls at a time of one process; a burst waits for its turn instead of opening connections.
CONCURRENCY = 8
#: Seconds between two attempts to reach a Valkey that is away.
PROBE_PERIOD_S = 1.0
_FAILURES = (RedisError, OSError, TimeoutError)
T = TypeVar("T")


class ValkeyScripts:
    """Runs scripts by their digest; after a failure refuses at once and probes aside."""

    def __init__(
        self,
        client: "valkey.Redis",
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._sleep = sleep
        self._turns = asyncio.Semaphore(CONCURRENCY)
        self._digests: dict[str, str] = {}
        self._probe: asyncio.Task[None] | None = None

    @classmethod
    def from_url(cls, url: str, *, client_name: str = "slipway-limits") -> Self:
        """Scripts in the server behind a redis:// or rediss:// URL."""
        client: valkey.Redis = valkey.Redis.from_url(
            url,
            # Bounded here as a whole: the client's own timeouts hit answers that lie there already
            # when this process comes to read them late.
            socket_timeout=None,
            socket_connect_timeout=None,
            # A pooled connection that the server has closed says nothing about the server.
            retry=Retry(NoBackoff(), 1, supported_errors=(ConnectionLost,)),
            client_name=client_name,
            max_connections=2 * CONCURRENCY,
        )
        return cls(client)

    @property
    def is_away(self) -> bool:
        """Between a failure and the next successful probe."""
        return self._probe is not None

    async def run(
        self, script: str, keys: Sequence[str], arguments: Sequence[int | str]
    ) -> list[int]:
        """As ``Scripts.run`` says."""
        if self.is_away:
            raise SharedStateAway
        try:
            async with self._turns:
                return await _answered(
                    self._evaluate(script, [*keys, *map(str, arguments)], len(keys))
                )
        except _FAILURES as error:
            self._fail(error)
            raise SharedStateAway from error

    async def close(self) -> None:
        """Close the connections."""
        if self._probe is not None:
            self._probe.cancel()
        await self._client.aclose()

    async def _evaluate(self, script: str, values: list[str], number_of_keys: int) -> list[int]:
        digest = self._digests.get(script)
        if digest is None:
            # The protocol's name for a script, not a protection of anything.
            digest = sha1(script.encode(), usedforsecurity=False).hexdigest()
            self._digests[script] = digest
        try:
            found = await self._client.evalsha(digest, number_of_keys, *values)
        except NoScriptError:
            found = await self._client.eval(script, number_of_keys, *values)
        return [int(value) for value in found]

    def _fail(self, error: Exception) -> None:
        if self._probe is None:
            log.warning("Valkey is away, limits are counted locally: %s", type(error).__name__)
            self._probe = asyncio.create_task(self._await_return(), name="limits-probe")

    async def _await_return(self) -> None:
        # By itself, so that who comes first after a quiet hour finds Valkey back.
        while True:
            await self._sleep(PROBE_PERIOD_S)
            with suppress(*_FAILURES):
                await _answered(self._ping())
                break
        self._probe = None
        log.warning("Valkey is back, limits are shared again")

    async def _ping(self) -> None:
        await self._client.ping()


async def _answered(call: Coroutine[Any, Any, T]) -> T:
    """
    What Valkey answers.

    Raises:
        TimeoutError: If it does not; a process that stood still for a moment reads on first.
    """
    task = asyncio.create_task(call)
    try:
        for _ in range(2):
            # A busy machine may stop this process for longer than one wait: when it comes back,
            # the time is over and the answer there.  The second wait is for reading that.
            done, _ = await asyncio.wait({task}, timeout=TIMEOUT_S)
            if done:
                return task.result()
        raise TimeoutError
    finally:
        task.cancel()

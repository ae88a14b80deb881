"""
Request limits: a bucket for each caller and route class, shared by all replicas through Valkey.

Valkey away is counted and never an outage: each process then grants its share of the limit.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from hashlib import sha1, sha256
from typing import Literal, Self

import redis.asyncio as valkey
from redis.exceptions import NoScriptError, RedisError

from cluster.errors import InsecureSettings, RateLimited
from cluster.metrics import FAIL_OPEN, LIMITS_HIT
from cluster.settings import Settings
from serve_app.security.decisions import (
    UNLIMITED,
    Decision,
    address_bucket,
    rate_limit_headers,
)
from serve_app.security.leases import Lease
from serve_app.security.principals import Principal
from serve_app.security.shared_state import WINDOW_S, Scripts, SharedStateAway

log = logging.getLogger(__name__)

RouteClass = Literal["login", "register", "upload", "predict", "other"]
#: A call that takes longer counts as Valkey being away.
TIMEOUT_S = 0.5
#: Calls at a time of one process; a burst waits for its turn instead of opening connections.
CONCURRENCY = 8
#: Seconds between two attempts to reach a Valkey that is away.
PROBE_PERIOD_S = 1.0
#: Buckets that one process remembers.
CAPACITY = 50_000


class ValkeyScripts:
    """Runs scripts by their digest; after a failure refuses at once and probes aside."""

    def __init__(
        self, client: "valkey.Redis", *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._clock = clock
        self._turns = asyncio.Semaphore(CONCURRENCY)
        self._digests: dict[str, str] = {}
        self._probe_at = -math.inf
        self._probe: asyncio.Task[None] | None = None
        self.is_away = False
        """Between a failure and the next successful probe."""

    @classmethod
    def from_url(cls, url: str, *, client_name: str = "slipway-limits") -> Self:
        """Scripts in the server behind a redis:// or rediss:// URL."""
        client: valkey.Redis = valkey.Redis.from_url(
            url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            client_name=client_name,
            max_connections=2 * CONCURRENCY,
        )
        return cls(client)

    async def run(
        self, script: str, keys: Sequence[str], arguments: Sequence[int | str]
    ) -> list[int]:
        """As ``Scripts.run`` says."""
        if self.is_away:
            self._probe_when_due()
            raise SharedStateAway
        try:
            async with self._turns, asyncio.timeout(2 * TIMEOUT_S):
                return await self._evaluate(script, [*keys, *map(str, arguments)], len(keys))
        except (RedisError, OSError, TimeoutError) as error:
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
        if not self.is_away:
            log.warning("Valkey is away, limits are counted locally: %s", type(error).__name__)
        self.is_away = True
        self._probe_at = self._clock() + PROBE_PERIOD_S

    def _probe_when_due(self) -> None:
        if self._clock() >= self._probe_at and (self._probe is None or self._probe.done()):
            self._probe = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(2 * TIMEOUT_S):
                await self._client.ping()
        except (RedisError, OSError, TimeoutError) as error:
            self._fail(error)
            return
        self.is_away = False
        log.warning("Valkey is back, limits are shared again")


class Limits:
    """Lets requests pass, or says when to come back."""

    def __init__(
        self,
        scripts: Scripts,
        settings: Settings,
        *,
        replicas: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.scripts = scripts
        """What the lockout shares with these limits."""
        self._settings = settings
        self._replicas = replicas or settings.workers
        self._clock = clock
        self._is_enabled = settings.rate_limit_enabled
        self._leases: dict[str, Lease] = {}
        self.fallbacks = 0
        """Decisions taken without Valkey."""

    @classmethod
    def from_settings(cls, settings: Settings, *, client_name: str = "slipway-limits") -> Self:
        """
        Limits shared through the Valkey that the settings name; nothing is connected yet.

        Raises:
            InsecureSettings: If there is no REDIS_URL.
        """
        if settings.redis_url is None:
            raise InsecureSettings("REDIS_URL is not set: set it, or run `slipway services start`")
        url = settings.redis_url.get_secret_value()
        return cls(ValkeyScripts.from_url(url, client_name=f"{client_name}-limits"), settings)

    async def start(self) -> None:
        """Look whether Valkey answers, so that the first request need not find out."""
        with contextlib.suppress(SharedStateAway):
            await self.scripts.run("return {1}", [], [])

    def try_take(self, principal: Principal, route_class: RouteClass) -> Decision | None:
        """Let a request pass by a token in hand; ``None`` means to ask ``check``."""
        if not self._is_enabled:
            return UNLIMITED
        lease = self._leases.get(_bucket(principal, route_class))
        if lease is None or not lease.try_take():
            return None
        limit = self._limit(principal)
        return Decision(route_class, limit, min(limit, lease.tokens + lease.left))

    async def check(self, caller: Principal | str | None, route_class: RouteClass) -> Decision:
        """
        Let a request pass.

        Args:
            caller: A principal; or, for who has no identity, the client's address.
            route_class: Each has buckets of its own.

        Raises:
            RateLimited: With ``retry_after_s`` and the headers.
        """
        if isinstance(caller, Principal):
            if not self._is_enabled:
                return UNLIMITED
            return await self._take(_bucket(caller, route_class), route_class, self._limit(caller))
        limit = self._settings.register_rate_limit
        if route_class == "login":
            limit = self._settings.login_rate_limit
        return await self._take(
            f"address:{address_bucket(caller)}:{route_class}", route_class, limit
        )

    async def close(self) -> None:
        """Give back every lease and let go of Valkey."""
        leases, self._leases = self._leases, {}
        held = [lease for lease in leases.values() if lease.tokens]
        await asyncio.gather(*(lease.give_back(lease.limit) for lease in held))
        await self.scripts.close()

    def _limit(self, principal: Principal) -> int:
        if principal.rate_limit is not None:
            return principal.rate_limit
        return principal.limit("rate_limit", self._settings.default_rate_limit)

    async def _take(self, bucket: str, route_class: RouteClass, limit: int) -> Decision:
        lease = self._leases.get(bucket) or self._add(bucket)
        lease.limit = limit
        wait_s = await lease.take(limit)
        if lease.is_away:
            self.fallbacks += 1
            FAIL_OPEN.record(what="limits")
        if wait_s > 0:
            LIMITS_HIT.record(route_class=route_class)
            raise RateLimited(
                f"you may make {limit} requests of this kind a minute: wait, then try again",
                retry_after_s=wait_s,
                limit=limit,
                headers=rate_limit_headers(route_class, limit, 0, wait_s),
            )
        return Decision(route_class, limit, min(limit, lease.tokens + lease.left))

    def _add(self, bucket: str) -> Lease:
        if len(self._leases) >= CAPACITY:
            self._forget_idle()
        # Hashed: a bucket's name has addresses and ids in it, and no length that we choose.
        name = sha256(bucket.encode()).hexdigest()[:32]
        key = f"{self._settings.redis_prefix}limit:{name}"
        lease = Lease(key, self.scripts, replicas=self._replicas, clock=self._clock)
        self._leases[bucket] = lease
        return lease

    def _forget_idle(self) -> None:
        cutoff = self._clock() - WINDOW_S
        self._leases = {k: v for k, v in self._leases.items() if v.used_at > cutoff}
        while len(self._leases) >= CAPACITY:
            del self._leases[next(iter(self._leases))]


def _bucket(principal: Principal, route_class: RouteClass) -> str:
    if principal.rate_limit is not None:
        return f"key:{principal.key_id}:{route_class}"
    return f"user:{principal.user_id}:{route_class}"

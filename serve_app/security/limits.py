"""
Request limits: a bucket for each caller and route class, shared by all replicas through Valkey.

Valkey away is counted and never an outage: each process then grants its share of the limit.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Literal, Self

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
from serve_app.security.valkey_scripts import ValkeyScripts

RouteClass = Literal["login", "register", "upload", "predict", "other"]
#: Buckets that one process remembers.
CAPACITY = 50_000


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

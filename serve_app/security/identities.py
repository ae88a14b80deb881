"""
Who a credential stands for: from a bounded cache in the common case, else from the registry.

An entry holds while the change follower is live, since every change of a user or key reaches it;
cut off from the registry, identities that are known are served for at most an hour, and counted.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from cluster.errors import NotAuthenticated, PlatformError, RegistryUnavailable
from cluster.metrics import FAIL_OPEN
from serve_app.registry.database import Database
from serve_app.registry.key_identities import find_key, recent_keys
from serve_app.registry.keys import touch_keys
from serve_app.registry.sessions import find_session
from serve_app.security.api_keys import digest, is_same
from serve_app.security.credentials import Credential, cache_key, read_credential
from serve_app.security.identity_cache import CAPACITY, Entry, IdentityCache
from serve_app.security.principals import Principal
from serve_app.security.tokens import REFUSAL, Claims, Tokens

log = logging.getLogger(__name__)

#: An entry is trusted this long by itself where the follower cannot vouch for it.
FRESH_S = 3.0
#: The most an identity is served without the registry.
STALE_S = 3600.0
#: How long a caller with a known identity waits for a registry that does not answer.
PATIENCE_S = 0.25
#: Uses of a key are noted in the registry this often.
NOTE_PERIOD_S = 60.0
#: Credentials looked up at a time, so that a flood of made-up keys leaves connections to others.
LOOKUPS = 8


class Following(Protocol):
    """The change follower as a cache sees it."""

    live_until: float

    def subscribe(self, callback: Callable[[str, str], None]) -> None:
        """Call back with kind and subject of every change."""
        ...


class Identities:
    """Principals by credential."""

    def __init__(
        self,
        database: Database,
        tokens: Tokens,
        follower: Following,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        capacity: int = CAPACITY,
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._follower = follower
        self._clock = clock
        self._wall_clock = wall_clock
        self._cache = IdentityCache(capacity)
        self._fills: dict[bytes, asyncio.Task[Principal]] = {}
        self._lookups = asyncio.Semaphore(LOOKUPS)
        self._used: set[str] = set()
        self._noting: asyncio.Task[None] | None = None
        self.stale_served = 0
        """Requests answered with an identity that the registry could not confirm."""
        follower.subscribe(self._cache.on_change)

    def find_cached(self, authorization: str | None, api_key: str | None) -> Principal | None:
        """The principal, if it is known and need not be looked up; the hot path's only step."""
        entry = self._cache.find(cache_key(authorization, api_key))
        if entry is None or self._wall_clock() >= entry.expires_at_s:
            return None
        now = self._clock()
        if now >= self._follower.live_until and now >= entry.filled_at + FRESH_S:
            if self._database.is_available or not self._may_be_stale(entry, now):
                return None
            self._count_stale()
        if entry.principal.key_id is not None and now >= entry.noted_at + NOTE_PERIOD_S:
            self._note_use(entry, now)
        return entry.principal

    async def identify(self, authorization: str | None, api_key: str | None) -> Principal:
        """
        Who the caller is.

        Raises:
            NotAuthenticated: The same for every credential that does not hold.
            RegistryUnavailable: If it is unknown here and the registry is away.
        """
        key = cache_key(authorization, api_key)
        self._recognise(key, authorization, api_key)
        principal = self.find_cached(authorization, api_key)
        if principal is not None:
            return principal
        known = self._cache.find(key)
        if self._cache.is_refused(key) and self._clock() < self._follower.live_until:
            raise NotAuthenticated(REFUSAL, reason="refused before")
        fill = self._fills.get(key)
        if fill is None:
            credential = read_credential(authorization, api_key)
            fill = asyncio.create_task(self._fill(key, credential))
            self._fills[key] = fill
            fill.add_done_callback(lambda done: self._on_filled(key, done))
        return await self._await_fill(fill, known)

    async def preload(self) -> int:
        """
        Know the API keys of the last hour before anybody presents them; returns how many.

        Raises:
            RegistryUnavailable: None is known by this.
        """
        generation, asked_at = self._cache.generation, self._clock()
        keys = await self._database.read(recent_keys)
        for found in keys:
            # By the digest that the registry has: how a caller will present it is not known.
            self._cache.store(found.key_sha256, Entry.of_key(found, asked_at), generation)
        return len(keys)

    async def close(self) -> None:
        """Note the last uses of keys and end what runs."""
        for task in list(self._fills.values()):
            task.cancel()
        if self._noting is not None:
            self._noting.cancel()
        await self._note_uses()

    def _recognise(self, key: bytes, authorization: str | None, api_key: str | None) -> None:
        """Take over what ``preload`` learned of a key that is presented for the first time."""
        if self._cache.find(key) is not None:
            return
        credential = read_credential(authorization, api_key)
        if credential.kind == "key":
            entry = self._cache.find(digest(credential.text))
            if entry is not None:
                self._cache.store(key, replace(entry), self._cache.generation)

    async def _await_fill(self, fill: asyncio.Task[Principal], known: Entry | None) -> Principal:
        patience_s = None if known is None else PATIENCE_S
        done, _ = await asyncio.wait({fill}, timeout=patience_s)
        try:
            if done:
                return fill.result()
        except RegistryUnavailable:
            if known is None:
                raise
        # Only a caller whose identity is known comes here, and the registry did not answer.
        is_unexpired = known is not None and self._wall_clock() < known.expires_at_s
        if known is not None and is_unexpired and self._may_be_stale(known, self._clock()):
            self._count_stale()
            return known.principal
        return await asyncio.shield(fill)

    async def _fill(self, key: bytes, credential: Credential) -> Principal:
        generation = self._cache.generation
        try:
            if credential.kind == "key":
                entry = await self._look_up_key(credential.text)
            else:
                claims = self._tokens.verify(credential.text, "access")
                session = await self._look_up_session(claims)
                entry = Entry(session, float(claims.expires_at_s), self._clock())
        except NotAuthenticated:
            self._cache.refuse(key, generation)
            raise
        self._cache.store(key, entry, generation)
        if entry.principal.key_id is not None:
            self._note_use(entry, entry.filled_at)
        return entry.principal

    async def _look_up_key(self, text: str) -> Entry:
        sha256 = digest(text)
        async with self._lookups:
            found = await self._database.read(partial(find_key, key_sha256=sha256))
        if found is None or not is_same(found.key_sha256, sha256):
            raise NotAuthenticated(REFUSAL, reason="unknown key")
        entry = Entry.of_key(found, self._clock())
        if found.is_revoked or not found.is_active or entry.expires_at_s <= self._wall_clock():
            raise NotAuthenticated(REFUSAL, reason="key revoked, expired or without a user")
        return entry

    async def _look_up_session(self, claims: Claims) -> Principal:
        read = partial(find_session, user_id=claims.user_id, family_id=claims.session_id)
        async with self._lookups:
            found = await self._database.read(read)
        if found is None or found.is_revoked or not found.is_active:
            raise NotAuthenticated(REFUSAL, reason="session ended")
        if found.session_epoch != claims.session_epoch:
            raise NotAuthenticated(REFUSAL, reason="session of an earlier epoch")
        return Principal(
            user_id=found.user_id,
            email=found.email,
            role=found.role,
            session_id=claims.session_id,
            limits=found.limits,
        )

    def _on_filled(self, key: bytes, fill: asyncio.Task[Principal]) -> None:
        self._fills.pop(key, None)
        if not fill.cancelled():
            # Asked for, since a caller that was served stale does not wait for it.
            fill.exception()

    def _may_be_stale(self, entry: Entry, now: float) -> bool:
        return now - max(entry.filled_at, self._follower.live_until) <= STALE_S

    def _count_stale(self) -> None:
        self.stale_served += 1
        FAIL_OPEN.record(what="identity")

    def _note_use(self, entry: Entry, now: float) -> None:
        entry.noted_at = now
        if entry.principal.key_id is not None:
            self._used.add(entry.principal.key_id)
        if self._noting is None or self._noting.done():
            self._noting = asyncio.get_running_loop().create_task(self._note_uses())

    async def _note_uses(self) -> None:
        # Keys that are used while the registry writes go together in its next write.
        while self._used:
            used, self._used = self._used, set()
            at = datetime.fromtimestamp(self._wall_clock(), UTC)
            try:
                await self._database.write(partial(touch_keys, key_ids=used, at=at))
            except PlatformError as error:
                # The time of last use is a courtesy: the next minute's note makes up for it.
                log.warning("uses of API keys were not noted: %s", error)

"""
A user's pages of models, shared between replicas for five minutes.

The key holds the sequence of the last change of any model that this replica has applied, so a page
made before a change is never found after it; whatever the cache cannot do is read from the
registry.  After a restore sequences come again, so nothing is shared until old pages are gone.
"""

import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from serve_app.registry.changes import EVERYTHING, ChangeFollower

TTL_S = 300
#: Changes after which a page may say something else: models, and e-mails of those they name.
KINDS = frozenset({"model", "user"})


class PageCache(Protocol):
    """Bytes by key, for a while; a cache that is away finds nothing and keeps nothing."""

    async def get(self, key: str) -> bytes | None:
        """The value, or ``None``."""
        ...

    async def set(self, key: str, value: bytes, ttl_s: float) -> bool:
        """Keep a value; whether that was done."""
        ...


class ModelLists:
    """The pages as one replica reads and fills them."""

    def __init__(
        self,
        cache: PageCache,
        follower: ChangeFollower,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cache = cache
        self._follower = follower
        self._clock = clock
        self._shared_from = float("-inf")
        self._epoch = 0
        self._is_stale = True
        follower.subscribe(self._on_change)

    async def get(
        self, user_id: str, query: Sequence[object], fill: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        """The page as JSON text: from the cache, else what ``fill`` reads."""
        key = self._key(user_id, query)
        if key is None:
            return await fill()
        found = await self._cache.get(key)
        if found is None:
            found = await fill()
            await self._cache.set(key, found, TTL_S)
        return found

    def _key(self, user_id: str, query: Sequence[object]) -> str | None:
        # A replica that has lost touch does not know whether its epoch is still the last one.
        if not self._follower.is_live or self._clock() < self._shared_from:
            return None
        if self._is_stale:
            # Taken after the callbacks have run, so every change up to here is in what is read.
            self._epoch, self._is_stale = self._follower.applied, False
        digest = hashlib.sha256(json.dumps(query).encode()).hexdigest()[:32]
        return f"models:{user_id}:{self._epoch}:{digest}"

    def _on_change(self, kind: str, subject: str) -> None:
        self._is_stale = self._is_stale or kind in KINDS
        if subject == EVERYTHING:
            self._shared_from = self._clock() + TTL_S

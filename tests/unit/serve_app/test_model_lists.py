"""Pages after everything may have changed; what a change does is tested over HTTP."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import pytest

from serve_app.model_lists import TTL_S, ModelLists
from serve_app.registry.changes import EVERYTHING, ChangeFollower

pytestmark = pytest.mark.anyio


@dataclass
class Follower:
    """A live follower whose sequence a test sets."""

    applied: int = 7
    is_live: bool = True
    callbacks: list[Callable[[str, str], None]] = field(default_factory=list)

    def subscribe(self, callback: Callable[[str, str], None]) -> None:
        self.callbacks.append(callback)

    def tell(self, kind: str, subject: str) -> None:
        for callback in self.callbacks:
            callback(kind, subject)


@dataclass
class Pages:
    """A cache that keeps everything."""

    kept: dict[str, bytes] = field(default_factory=dict)

    async def get(self, key: str) -> bytes | None:
        return self.kept.get(key)

    async def set(self, key: str, value: bytes, ttl_s: float) -> bool:
        self.kept[key] = value
        return ttl_s > 0


async def test_after_a_restore_no_page_of_before_is_found_though_sequences_come_again() -> None:
    follower, pages, now_s = Follower(), Pages(), [0.0]
    lists = ModelLists(pages, cast(ChangeFollower, follower), clock=lambda: now_s[0])

    async def read(page: bytes) -> bytes:
        async def fill() -> bytes:
            return page

        return await lists.get("ada", (20, 0), fill)

    assert [await read(b"before"), await read(b"later")] == [b"before", b"before"]

    follower.tell("model", EVERYTHING)
    assert await read(b"restored") == b"restored"

    now_s[0] = TTL_S
    pages.kept.clear()  # as the cache does by itself at that age
    assert [await read(b"shared"), await read(b"again")] == [b"shared", b"shared"]

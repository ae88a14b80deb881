"""Valkey: bytes that may be gone, wake-ups that may be lost, and never a failed request."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from cluster.embedded import EmbeddedValkey
from cluster.errors import PlatformError
from serve_app.cache import ValkeyCache

pytestmark = pytest.mark.anyio
NOBODY = "redis://127.0.0.1:1/0"


@pytest.fixture
async def cache(valkey_url: str) -> AsyncIterator[ValkeyCache]:
    """A client with a prefix of the test's own."""
    cache = ValkeyCache(valkey_url, f"test{time.monotonic_ns()}:")
    await cache.ping()
    yield cache
    await cache.close()


async def test_what_was_set_is_there_until_it_is_deleted(cache: ValkeyCache) -> None:
    assert await cache.get("a") is None
    assert await cache.set("a", b"\x00bytes", 60)
    assert await cache.get("a") == b"\x00bytes"
    assert await cache.delete("a", "never there")
    assert await cache.get("a") is None


async def test_a_value_expires(cache: ValkeyCache) -> None:
    await cache.set("brief", b"x", 0.001)
    await cache.set("long", b"x", 60)

    async with asyncio.timeout(5):
        while await cache.get("brief") is not None:
            continue
    assert await cache.get("long") == b"x"


async def test_no_value_lives_longer_than_the_longest_allowed(valkey_url: str) -> None:
    prefix = f"test{time.monotonic_ns()}:"
    capped = ValkeyCache(valkey_url, prefix, longest_ttl_s=20)
    await capped.set("asks for more", b"x", 60)
    await capped.set("asks for less", b"x", 10)

    async with Redis.from_url(valkey_url) as server:
        assert 10 < await server.ttl(f"{prefix}asks for more") <= 20
        assert 0 < await server.ttl(f"{prefix}asks for less") <= 10
    await capped.close()


async def test_prefixes_keep_installations_apart(cache: ValkeyCache, valkey_url: str) -> None:
    other = ValkeyCache(valkey_url, "another:")
    await cache.set("a", b"mine", 60)

    assert await other.get("a") is None
    await other.close()


async def test_a_server_that_is_away_is_a_miss_and_then_not_asked() -> None:
    asleep = asyncio.Event()

    async def sleep(_: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    cache = ValkeyCache(NOBODY, "p:", sleep=sleep)
    assert await cache.get("a") is None
    await asleep.wait()

    assert not cache.is_available
    assert not await cache.set("a", b"x", 60)
    assert not await cache.delete("a")
    await cache.publish(1)
    with pytest.raises(PlatformError, match="Valkey"):
        await cache.ping()
    await cache.close()


async def test_a_server_that_hangs_costs_the_budget_once() -> None:
    gone = asyncio.Event()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        gone.set()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    cache = ValkeyCache(f"redis://127.0.0.1:{port}/0", "p:")

    started = time.perf_counter()
    answers = [await cache.get("a") for _ in range(50)]
    elapsed_s = time.perf_counter() - started

    assert answers == [None] * 50
    assert elapsed_s < 1.0
    await cache.close()
    await gone.wait()
    server.close()


async def test_cache_and_listener_outlive_a_restart(tmp_path: Path) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0.01)

    server = EmbeddedValkey(tmp_path)
    url = await asyncio.to_thread(server.start)
    cache = ValkeyCache(url, "p:", sleep=sleep)
    try:
        heard: asyncio.Queue[int] = asyncio.Queue()
        listener = asyncio.create_task(_hear(cache, heard))
        await _publish_until_heard(cache, heard, 1)
        await asyncio.to_thread(server.stop)
        assert await cache.get("a") is None
        again = await asyncio.to_thread(server.start)
        assert urlsplit(again).port == urlsplit(url).port

        await _publish_until_heard(cache, heard, 2)
        assert await cache.set("a", b"back", 60)
        assert await cache.get("a") == b"back"
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
    finally:
        await cache.close()
        await asyncio.to_thread(server.stop)


async def _hear(cache: ValkeyCache, heard: "asyncio.Queue[int]") -> None:
    async for sequence in cache.listen():
        await heard.put(sequence)


async def _publish_until_heard(
    cache: ValkeyCache, heard: "asyncio.Queue[int]", sequence: int
) -> None:
    # The subscription is made by another task; a message sent before it is lost, as it may be.
    async with asyncio.timeout(15):
        while True:
            await cache.publish(sequence)
            try:
                async with asyncio.timeout(0.1):
                    while await heard.get() != sequence:
                        continue
                return
            except TimeoutError:
                continue

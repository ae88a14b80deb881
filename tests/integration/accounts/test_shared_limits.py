"""Two replicas, one Valkey: together they hold the limit, and ask seldom."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence

import pytest
from pydantic import SecretStr

from cluster.errors import RateLimited
from cluster.settings import Settings
from serve_app.security.gcra import LEASE_SCRIPT
from serve_app.security.limits import Limits
from serve_app.security.lockout import Lockout
from serve_app.security.principals import Principal
from serve_app.security.shared_state import SharedStateAway
from serve_app.security.valkey_scripts import ValkeyScripts

pytestmark = pytest.mark.anyio
LIMIT = 600
ADA = Principal(user_id="ada", email="ada@example.org", role="member")


class CountingScripts:
    """Real scripts, and when each was called."""

    def __init__(self, url: str) -> None:
        self._scripts = ValkeyScripts.from_url(url)
        self.called_at: list[float] = []

    async def run(
        self, script: str, keys: Sequence[str], arguments: Sequence[int | str], /
    ) -> list[int]:
        if script == LEASE_SCRIPT and int(arguments[2]) > 0:
            self.called_at.append(time.monotonic())
        return await self._scripts.run(script, keys, arguments)

    async def close(self) -> None:
        await self._scripts.close()


@pytest.fixture
def settings(valkey_url: str) -> Settings:
    return Settings(
        _env_file=None,
        redis_url=SecretStr(valkey_url),
        redis_prefix=f"t{uuid.uuid4().hex[:8]}:",
        default_rate_limit=LIMIT,
    )


@pytest.fixture
async def replicas(
    settings: Settings, valkey_url: str
) -> AsyncIterator[list[tuple[Limits, CountingScripts]]]:
    made = []
    for _ in range(2):
        scripts = CountingScripts(valkey_url)
        made.append((Limits(scripts, settings), scripts))
    yield made
    for limits, _ in made:
        await limits.close()


async def hammer(limits: Limits, seconds: float) -> int:
    """Requests that pass when sixteen clients ask without pause."""
    until = time.monotonic() + seconds
    passed = 0

    async def client() -> None:
        nonlocal passed
        while time.monotonic() < until:
            try:
                await limits.check(ADA, "predict")
            except RateLimited:
                await asyncio.sleep(0.005)
                continue
            passed += 1

    await asyncio.gather(*(client() for _ in range(16)))
    return passed


async def test_all_replicas_together_hold_the_limit_within_five_percent(
    replicas: list[tuple[Limits, CountingScripts]],
) -> None:
    started = time.monotonic()

    counts = await asyncio.gather(*(hammer(limits, 3.0) for limits, _ in replicas))

    elapsed_s = time.monotonic() - started
    allowed = LIMIT + LIMIT / 60 * elapsed_s
    assert sum(counts) <= allowed + 1
    assert sum(counts) >= 0.95 * allowed
    assert all(limits.fallbacks == 0 for limits, _ in replicas)


async def test_a_replica_asks_at_most_once_in_a_hundred_milliseconds(
    replicas: list[tuple[Limits, CountingScripts]],
) -> None:
    limits, scripts = replicas[0]

    await hammer(limits, 1.5)

    gaps = [b - a for a, b in zip(scripts.called_at, scripts.called_at[1:], strict=False)]
    assert len(gaps) >= 3
    assert min(gaps) >= 0.099


async def test_what_one_replica_held_unused_another_gets(
    replicas: list[tuple[Limits, CountingScripts]],
) -> None:
    (first, _), (second, _) = replicas
    await first.check(ADA, "predict")

    await first.close()
    started = time.monotonic()
    passed = await hammer(second, 1.0)

    assert passed >= LIMIT - 2
    assert passed <= LIMIT - 1 + LIMIT / 60 * (time.monotonic() - started) + 1


async def test_without_valkey_the_answer_is_quick_and_local(settings: Settings) -> None:
    scripts = ValkeyScripts.from_url("redis://127.0.0.1:1")
    limits = Limits(scripts, settings, replicas=2)
    started = time.monotonic()

    for _ in range(50):
        await limits.check(ADA, "predict")

    assert time.monotonic() - started < 1
    assert limits.fallbacks == 50
    assert scripts.is_away
    with pytest.raises(SharedStateAway):
        await scripts.run("return {1}", [], [])
    await limits.close()


async def test_attempts_at_a_password_are_counted_by_all_replicas_together(
    valkey_url: str,
) -> None:
    prefix = f"t{uuid.uuid4().hex[:8]}:"
    scripts = [ValkeyScripts.from_url(valkey_url) for _ in range(2)]
    doors = [Lockout(each, limit=5, prefix=prefix) for each in scripts]

    results = await asyncio.gather(
        *(doors[n % 2].attempt(f"10.0.0.{n}", "ada@example.org") for n in range(40)),
        return_exceptions=True,
    )

    refused = [result for result in results if isinstance(result, RateLimited)]
    assert len(refused) == 35
    assert all(10 < (each.retry_after_s or 0) <= 60 for each in refused)
    for each in scripts:
        await each.close()


async def test_a_success_gives_its_attempt_back(valkey_url: str) -> None:
    scripts = ValkeyScripts.from_url(valkey_url)
    door = Lockout(scripts, limit=5, prefix=f"t{uuid.uuid4().hex[:8]}:")

    for _ in range(30):
        await door.succeeded(await door.attempt("10.0.0.1", "ada@example.org"))

    assert (await door.attempt("10.0.0.1", "ada@example.org")).is_known
    await scripts.close()

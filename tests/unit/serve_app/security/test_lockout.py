"""Attempts at passwords while Valkey is away; the shared count is tested against a real one."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from cluster.errors import RateLimited
from serve_app.security.lockout import Lockout
from serve_app.security.shared_state import SharedStateAway

pytestmark = pytest.mark.anyio


class Away:
    """A Valkey that does not answer."""

    async def run(
        self, _script: str, _keys: Sequence[str], _arguments: Sequence[int | str], /
    ) -> list[int]:
        raise SharedStateAway

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


def lockout(clock: Clock, *, limit: int = 10, replicas: int = 1) -> Lockout:
    return Lockout(Away(), limit=limit, prefix="t:", replicas=replicas, clock=clock)


async def evaluated(door: Lockout, addresses: list[str], account: str = "ada@example.org") -> int:
    """How many of these attempts are let through to the password."""
    passed = 0
    for address in addresses:
        try:
            await door.attempt(address, account)
        except RateLimited:
            continue
        passed += 1
    return passed


async def test_one_address_gets_as_many_attempts_as_the_limit() -> None:
    assert await evaluated(lockout(Clock()), ["10.0.0.1"] * 1000) == 10


async def test_a_thousand_addresses_get_no_more_at_one_account() -> None:
    addresses = [f"10.0.{n // 250}.{n % 250}" for n in range(1000)]

    assert await evaluated(lockout(Clock()), addresses) == 10


async def test_one_address_gets_no_more_at_many_accounts() -> None:
    door = lockout(Clock())

    passed = [await evaluated(door, ["10.0.0.1"], f"user{n}@example.org") for n in range(100)]

    assert sum(passed) == 10


async def test_an_ipv6_client_has_one_count_for_its_whole_network() -> None:
    door = lockout(Clock())
    addresses = [f"2001:db8:1:2::{n:x}" for n in range(100)]

    passed = [await evaluated(door, [a], f"user{n}@e") for n, a in enumerate(addresses)]

    assert sum(passed) == 10


async def test_a_minute_later_the_rightful_user_gets_in() -> None:
    clock = Clock()
    door = lockout(clock)
    await evaluated(door, ["10.0.0.1"] * 1000)

    clock.now_s += 60

    assert await evaluated(door, ["10.0.0.2"]) == 1


async def test_who_goes_on_failing_waits_longer_and_never_over_a_minute() -> None:
    clock = Clock()
    door = lockout(clock)
    waits: list[float] = []

    for _ in range(100):
        try:
            await door.attempt("10.0.0.1", "ada@example.org")
        except RateLimited as refusal:
            waits.append(refusal.retry_after_s or 0.0)
            clock.now_s += waits[-1]

    assert [round(wait) for wait in waits] == sorted(round(wait) for wait in waits)
    assert waits[0] == pytest.approx(12)
    assert waits[-1] == pytest.approx(60)


async def test_attempts_that_succeed_cost_nothing() -> None:
    door = lockout(Clock())

    for _ in range(100):
        await door.succeeded(await door.attempt("10.0.0.1", "ada@example.org"))

    assert await evaluated(door, ["10.0.0.1"] * 20) == 10


async def test_alone_a_replica_counts_its_share() -> None:
    assert await evaluated(lockout(Clock(), replicas=2), ["10.0.0.1"] * 100) == 5


async def test_a_refusal_says_when_to_come_back() -> None:
    door = lockout(Clock())
    await evaluated(door, ["10.0.0.1"] * 10)

    with pytest.raises(RateLimited, match="too many attempts") as refusal:
        await door.attempt("10.0.0.1", "ada@example.org")

    assert "q=10;w=60" in str(refusal.value.context["headers"])


async def test_neither_address_nor_account_can_be_read_from_an_attempt() -> None:
    attempt = await lockout(Clock()).attempt("10.0.0.1", "ada@example.org")

    shown = str(dataclasses.asdict(attempt))
    assert "ada" not in shown
    assert "10.0.0.1" not in shown

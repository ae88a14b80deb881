"""Request limits of one process, over scripts that are away or that count their calls."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from cluster.errors import RateLimited
from cluster.settings import Settings
from serve_app.security.decisions import address_bucket
from serve_app.security.limits import Limits
from serve_app.security.principals import Principal
from serve_app.security.shared_state import SharedStateAway

pytestmark = pytest.mark.anyio
ADA = Principal(user_id="ada", email="ada@example.org", role="member")


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Scripts:
    """Grants what is wanted, up to what is left; away while ``is_away``."""

    left: int = 1000
    is_away: bool = False
    calls: list[list[int]] = field(default_factory=list)

    async def run(
        self, _script: str, _keys: Sequence[str], arguments: Sequence[int | str], /
    ) -> list[int]:
        if self.is_away:
            raise SharedStateAway
        limit, charge, want = (int(argument) for argument in arguments)
        self.calls.append([limit, charge, want])
        self.left -= charge
        granted = min(self.left, want)
        self.left -= granted
        return [granted, self.left, 0 if granted == want else 30_000_000]

    async def close(self) -> None:
        """Nothing is open."""


def limits(scripts: Scripts, clock: Clock | None = None, **settings: object) -> Limits:
    made = Settings(_env_file=None, **settings)  # type: ignore[arg-type]  # by name, in each test
    return Limits(scripts, made, replicas=2, clock=clock or Clock())


async def passed(door: Limits, principal: Principal, attempts: int) -> int:
    count = 0
    for _ in range(attempts):
        try:
            await door.check(principal, "predict")
        except RateLimited:
            continue
        count += 1
    return count


async def test_without_valkey_a_replica_grants_its_share_and_counts_it() -> None:
    door = limits(Scripts(is_away=True), default_rate_limit=100)

    assert await passed(door, ADA, 200) == 50
    assert door.fallbacks == 200


async def test_what_was_granted_alone_is_charged_when_valkey_is_back() -> None:
    scripts = Scripts(is_away=True)
    door = limits(scripts, default_rate_limit=100)
    await passed(door, ADA, 20)

    scripts.is_away = False
    await door.check(ADA, "predict")

    assert scripts.calls[0][:2] == [100, 20]


async def test_a_token_in_hand_is_taken_at_once() -> None:
    door = limits(Scripts(), default_rate_limit=100)
    assert door.try_take(ADA, "predict") is None

    await asyncio.gather(*(door.check(ADA, "predict") for _ in range(10)))

    assert len(door.scripts.calls) == 1  # type: ignore[attr-defined]  # the fake's own


async def test_requests_that_come_together_share_one_call() -> None:
    scripts = Scripts()
    door = limits(scripts, default_rate_limit=100)

    decisions = await asyncio.gather(*(door.check(ADA, "predict") for _ in range(50)))

    assert len(decisions) == 50
    assert len(scripts.calls) == 1


async def test_an_empty_bucket_is_not_asked_again_before_its_time() -> None:
    scripts, clock = Scripts(left=1), Clock()
    door = limits(scripts, clock, default_rate_limit=2)
    await door.check(ADA, "predict")
    clock.now_s += 1
    assert await passed(door, ADA, 100) == 0
    calls = len(scripts.calls)

    clock.now_s += 30
    scripts.left = 5

    assert await passed(door, ADA, 1) == 1
    assert len(scripts.calls) == calls + 1


async def test_a_refusal_carries_when_and_what() -> None:
    door = limits(Scripts(left=0), default_rate_limit=7)

    with pytest.raises(RateLimited, match="7 requests") as refusal:
        await door.check(ADA, "predict")

    assert refusal.value.retry_after_s == pytest.approx(30)
    assert refusal.value.context["headers"] == {
        "RateLimit-Policy": '"predict";q=7;w=60',
        "RateLimit": '"predict";r=0;t=30',
    }


async def test_a_decision_says_what_is_left() -> None:
    decision = await limits(Scripts(left=41), default_rate_limit=60).check(ADA, "other")

    assert decision.headers == {
        "RateLimit-Policy": '"other";q=60;w=60',
        "RateLimit": '"other";r=40;t=20',
    }


async def test_an_admin_gives_a_user_another_limit() -> None:
    caller = Principal(user_id="u", email="u@e", role="member", limits={"rate_limit": 500})

    assert (await limits(Scripts()).check(caller, "other")).limit == 500


@pytest.mark.parametrize(
    ("rate_limit", "is_shared"),
    [
        (None, True),  # counts with its owner
        (5, False),  # has a bucket of its own
    ],
)
async def test_a_key_shares_its_owners_bucket_unless_it_has_a_limit(
    rate_limit: int | None, *, is_shared: bool
) -> None:
    door = limits(Scripts(is_away=True), default_rate_limit=20)
    key = Principal(
        user_id="ada",
        email="ada@example.org",
        role="member",
        key_id="k",
        scopes=frozenset({"predict"}),
        rate_limit=rate_limit,
    )
    await passed(door, key, 100)

    assert (await passed(door, ADA, 100) == 0) is is_shared


async def test_switched_off_nothing_is_counted_but_registrations() -> None:
    scripts = Scripts(left=3)
    door = limits(scripts, rate_limit_enabled=False, register_rate_limit=3)

    assert await passed(door, ADA, 50) == 50
    assert door.try_take(ADA, "predict") is not None
    assert scripts.calls == []
    await door.check("10.0.0.1", "register")
    assert len(scripts.calls) == 1


async def test_what_is_in_hand_goes_back_at_the_end() -> None:
    scripts = Scripts()
    door = limits(scripts, default_rate_limit=100)
    waiting = [asyncio.create_task(door.check(ADA, "predict")) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    left = scripts.left

    await door.close()

    assert scripts.left >= left
    assert scripts.left == 1000 - 2


@pytest.mark.parametrize(
    ("address", "bucket"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("2001:db8::1", "2001:db8::"),
        ("2001:db8::ffff:ffff:ffff:ffff", "2001:db8::"),  # one household
        ("::ffff:10.1.2.3", "10.1.2.3"),  # an IPv4 client on an IPv6 socket
        ("testclient", "unknown"),
        (None, "unknown"),
    ],
)
def test_whose_bucket_an_address_is(address: str | None, bucket: str) -> None:
    assert address_bucket(address) == bucket

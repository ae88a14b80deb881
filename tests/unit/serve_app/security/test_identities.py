"""Who a credential stands for, while the registry answers, changes, hangs and is away."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import pytest

from cluster.errors import NotAuthenticated, RegistryUnavailable
from serve_app.registry.database import Database
from serve_app.registry.key_identities import KeyIdentity
from serve_app.registry.keys import KeyRecord
from serve_app.registry.sessions import SessionIdentity
from serve_app.security.api_keys import make_key
from serve_app.security.identities import Identities
from serve_app.security.tokens import Tokens

pytestmark = pytest.mark.anyio
NOW_S = 1_800_000_000.0
KEY = make_key()
USER, SESSION = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"

KEY_IDENTITY = KeyIdentity(
    key=KeyRecord(
        id="00000000-0000-0000-0000-00000000000a",
        user_id=USER,
        name="ci",
        prefix=KEY.prefix,
        scopes=("predict",),
        models=None,
        rate_limit=None,
        expires_at=None,
        last_used_at=None,
        created_at=datetime.fromtimestamp(0, UTC),
    ),
    key_sha256=KEY.sha256,
    is_revoked=False,
    email="ada@example.org",
    role="member",
    is_active=True,
    limits={},
)
SESSION_IDENTITY = SessionIdentity(
    user_id=USER,
    email="ada@example.org",
    role="member",
    is_active=True,
    session_epoch=3,
    limits={"rate_limit": 7},
    is_revoked=False,
)


@dataclass
class Registry:
    """Answers look-ups by what it holds; fails or hangs on demand."""

    key: KeyIdentity | None = KEY_IDENTITY
    session: SessionIdentity | None = SESSION_IDENTITY
    is_available: bool = True
    hang: asyncio.Event | None = None
    reads: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    touched: list[set[str]] = field(default_factory=list)

    async def read(self, work: partial[object] | Callable[[object], object]) -> object:
        self.reads += 1
        self.asked.set()
        if self.hang is not None:
            await self.hang.wait()
        if not self.is_available:
            raise RegistryUnavailable("away", retry_after_s=1)
        if not isinstance(work, partial):
            return [self.key]
        return self.key if work.func.__name__ == "find_key" else self.session

    async def write(self, work: partial[object]) -> None:
        self.touched.append(work.keywords["key_ids"])


@dataclass
class Follower:
    live_until: float = math.inf
    callbacks: list[Callable[[str, str], None]] = field(default_factory=list)

    def subscribe(self, callback: Callable[[str, str], None]) -> None:
        self.callbacks.append(callback)

    def tell(self, kind: str, subject: str) -> None:
        for callback in self.callbacks:
            callback(kind, subject)


@dataclass
class House:
    registry: Registry = field(default_factory=Registry)
    follower: Follower = field(default_factory=Follower)
    monotonic_s: float = 0.0
    wall_s: float = NOW_S

    def __post_init__(self) -> None:
        self.tokens = Tokens("s" * 40, clock=lambda: self.wall_s)
        self.identities = Identities(
            cast("Database", self.registry),
            self.tokens,
            self.follower,
            clock=lambda: self.monotonic_s,
            wall_clock=lambda: self.wall_s,
        )

    def bearer(self, epoch: int = 3) -> str:
        return f"Bearer {self.tokens.access(USER, SESSION, epoch)}"

    def cut_off(self) -> None:
        """The registry is away, and the follower has noticed."""
        self.registry.is_available = False
        self.follower.live_until = self.monotonic_s
        self.monotonic_s += 5


async def test_a_key_stands_for_its_user_within_its_scopes() -> None:
    principal = await House().identities.identify(None, KEY.text)

    assert (principal.user_id, principal.key_id) == (USER, KEY_IDENTITY.key.id)
    assert principal.scopes == frozenset({"predict"})


async def test_a_token_stands_for_its_user_with_all_that_the_role_allows() -> None:
    house = House()

    principal = await house.identities.identify(house.bearer(), None)

    assert (principal.user_id, principal.session_id) == (USER, SESSION)
    assert principal.scopes is None
    assert principal.limits == {"rate_limit": 7}


async def test_the_second_request_asks_nobody() -> None:
    house = House()
    first = await house.identities.identify(None, KEY.text)

    assert house.identities.find_cached(None, KEY.text) is first
    assert house.registry.reads == 1


async def test_requests_that_come_together_look_up_once() -> None:
    house = House()

    await asyncio.gather(*(house.identities.identify(None, KEY.text) for _ in range(50)))

    assert house.registry.reads == 1


@pytest.mark.parametrize(
    "changed",
    [
        None,  # unknown
        replace(KEY_IDENTITY, is_revoked=True),
        replace(KEY_IDENTITY, is_active=False),
        replace(
            KEY_IDENTITY,
            key=replace(KEY_IDENTITY.key, expires_at=datetime.fromtimestamp(NOW_S, UTC)),
        ),
        replace(KEY_IDENTITY, key_sha256=b"\x00" * 32),
    ],
)
async def test_a_key_that_does_not_hold_is_refused(changed: KeyIdentity | None) -> None:
    with pytest.raises(NotAuthenticated, match="no valid credential"):
        await House(registry=Registry(key=changed)).identities.identify(None, KEY.text)


@pytest.mark.parametrize(
    "changed",
    [
        None,  # the session was never this user's
        replace(SESSION_IDENTITY, is_revoked=True),
        replace(SESSION_IDENTITY, is_active=False),
        replace(SESSION_IDENTITY, session_epoch=4),  # logged out everywhere
    ],
)
async def test_a_session_that_ended_is_refused(changed: SessionIdentity | None) -> None:
    house = House(registry=Registry(session=changed))

    with pytest.raises(NotAuthenticated, match="no valid credential"):
        await house.identities.identify(house.bearer(), None)


async def test_a_mistyped_key_costs_no_look_up() -> None:
    house = House()

    with pytest.raises(NotAuthenticated):
        await house.identities.identify(None, KEY.text[:-1] + "?")

    assert house.registry.reads == 0


async def test_an_unknown_key_is_looked_up_once_until_something_changes() -> None:
    house = House(registry=Registry(key=None))
    for _ in range(5):
        with pytest.raises(NotAuthenticated):
            await house.identities.identify(None, KEY.text)
    assert house.registry.reads == 1

    house.registry.key = KEY_IDENTITY
    house.follower.tell("key", "another")

    assert (await house.identities.identify(None, KEY.text)).user_id == USER


@pytest.mark.parametrize(
    ("kind", "subject"),
    [
        ("key", KEY_IDENTITY.key.id),
        ("user", USER),
        ("user", "*"),  # changes that could not be followed
        ("key", "*"),
    ],
)
async def test_a_change_reaches_the_cache(kind: str, subject: str) -> None:
    house = House()
    await house.identities.identify(None, KEY.text)

    house.registry.key = replace(KEY_IDENTITY, is_revoked=True)
    house.follower.tell(kind, subject)

    assert house.identities.find_cached(None, KEY.text) is None
    with pytest.raises(NotAuthenticated):
        await house.identities.identify(None, KEY.text)


@pytest.mark.parametrize(("kind", "subject"), [("model", USER), ("user", "x"), ("key", "x")])
async def test_a_change_of_something_else_leaves_the_cache_alone(kind: str, subject: str) -> None:
    house = House()
    await house.identities.identify(None, KEY.text)

    house.follower.tell(kind, subject)

    assert house.identities.find_cached(None, KEY.text) is not None


async def test_what_was_read_before_a_change_is_not_kept_after_it() -> None:
    hang = asyncio.Event()
    house = House(registry=Registry(hang=hang))
    reading = asyncio.create_task(house.identities.identify(None, KEY.text))
    await house.registry.asked.wait()

    house.follower.tell("key", KEY_IDENTITY.key.id)
    hang.set()
    await reading

    assert house.identities.find_cached(None, KEY.text) is None


async def test_a_token_ends_with_its_time_though_it_is_cached() -> None:
    house = House()
    bearer = house.bearer()
    await house.identities.identify(bearer, None)

    house.wall_s += 1800 + 30

    assert house.identities.find_cached(bearer, None) is None
    with pytest.raises(NotAuthenticated):
        await house.identities.identify(bearer, None)


async def test_without_a_live_follower_an_entry_is_asked_for_again() -> None:
    house = House(follower=Follower(live_until=0))
    await house.identities.identify(None, KEY.text)

    house.monotonic_s += 2
    assert house.identities.find_cached(None, KEY.text) is not None
    house.monotonic_s += 2

    assert house.identities.find_cached(None, KEY.text) is None
    await house.identities.identify(None, KEY.text)
    assert house.registry.reads == 2


async def test_cut_off_a_known_identity_is_served_and_counted() -> None:
    house = House()
    await house.identities.identify(None, KEY.text)

    house.cut_off()

    assert (await house.identities.identify(None, KEY.text)).user_id == USER
    assert house.identities.stale_served == 1


async def test_cut_off_an_unknown_identity_is_a_503() -> None:
    house = House()
    house.cut_off()

    with pytest.raises(RegistryUnavailable):
        await house.identities.identify(None, KEY.text)


async def test_cut_off_for_more_than_an_hour_nobody_is_known() -> None:
    house = House()
    await house.identities.identify(None, KEY.text)
    house.cut_off()

    house.monotonic_s += 3600

    with pytest.raises(RegistryUnavailable):
        await house.identities.identify(None, KEY.text)


async def test_a_known_caller_does_not_wait_for_a_registry_that_hangs() -> None:
    house = House(follower=Follower(live_until=0))
    await house.identities.identify(None, KEY.text)
    house.monotonic_s += 5
    house.registry.hang = asyncio.Event()

    async with asyncio.timeout(5):
        principal = await house.identities.identify(None, KEY.text)

    assert principal.user_id == USER
    assert house.identities.stale_served == 1


async def test_a_revocation_that_is_heard_while_cut_off_holds() -> None:
    house = House()
    await house.identities.identify(None, KEY.text)
    house.cut_off()

    house.follower.tell("key", KEY_IDENTITY.key.id)

    with pytest.raises(RegistryUnavailable):
        await house.identities.identify(None, KEY.text)


async def test_the_use_of_a_key_is_noted_once_a_minute() -> None:
    house = House()
    for _ in range(10):
        await house.identities.identify(None, KEY.text)
    await asyncio.sleep(0)
    assert house.registry.touched == [{KEY_IDENTITY.key.id}]

    house.monotonic_s += 61
    await house.identities.identify(None, KEY.text)
    await house.identities.close()

    assert len(house.registry.touched) == 2


async def test_the_cache_is_bounded() -> None:
    house = House()
    identities = Identities(
        cast("Database", house.registry), house.tokens, house.follower, capacity=3
    )
    texts = [house.tokens.access(USER, SESSION, 3) for _ in range(5)]

    for text in texts:
        await identities.identify(f"Bearer {text}", None)

    found = [identities.find_cached(f"Bearer {text}", None) for text in texts]
    assert [item is not None for item in found] == [False, False, True, True, True]


def test_no_secret_is_kept_in_the_cache() -> None:
    async def run() -> dict[str, Any]:
        house = House()
        await house.identities.identify(None, KEY.text)
        return vars(house.identities)

    assert KEY.text not in repr(asyncio.run(run()))


class TestPreloaded:
    """Keys that the registry said were in use, before anybody presented them here."""

    @pytest.fixture
    async def house(self) -> House:
        house = House()
        assert await house.identities.preload() == 1
        house.cut_off()
        return house

    @pytest.mark.parametrize("headers", [(None, KEY.text), (f"Bearer {KEY.text}", None)])
    async def test_one_is_served_while_the_registry_is_away(
        self, house: House, headers: tuple[str | None, str | None]
    ) -> None:
        assert (await house.identities.identify(*headers)).key_id == KEY_IDENTITY.key.id
        assert house.identities.stale_served == 1

    async def test_another_is_not(self, house: House) -> None:
        with pytest.raises(RegistryUnavailable):
            await house.identities.identify(None, make_key().text)

    @pytest.mark.parametrize(("kind", "subject"), [("key", KEY_IDENTITY.key.id), ("user", USER)])
    async def test_one_that_was_changed_since_is_not(
        self, house: House, kind: str, subject: str
    ) -> None:
        house.follower.tell(kind, subject)

        with pytest.raises(RegistryUnavailable):
            await house.identities.identify(None, KEY.text)

    async def test_one_that_has_expired_is_not(self) -> None:
        expires_at = datetime.fromtimestamp(NOW_S + 60, UTC)
        house = House(
            Registry(replace(KEY_IDENTITY, key=replace(KEY_IDENTITY.key, expires_at=expires_at)))
        )
        await house.identities.preload()
        house.cut_off()
        house.wall_s += 60

        with pytest.raises(RegistryUnavailable):
            await house.identities.identify(None, KEY.text)

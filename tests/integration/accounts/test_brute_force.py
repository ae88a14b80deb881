"""Ten thousand guesses at a password, by a clock of ours on a real Valkey."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Scope

from cluster.settings import Settings
from serve_app.security.accounts import Accounts
from serve_app.security.lockout import Lockout
from serve_app.security.shared_state import Scripts
from tests.integration.accounts.conftest import EDGE_TOKEN, PASSWORD, House

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]
LIMIT = 10
GUESSES = 10_000
#: From addresses that are real, which is the dearer attack.
REAL_GUESSES = 2_000
Headers = list[tuple[bytes, bytes]]


class TimedScripts:
    """Scripts of a real Valkey that read our clock in place of its own."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self.now_s = 1_800_000_000

    async def run(
        self, script: str, keys: Sequence[str], arguments: Sequence[int | str], /
    ) -> list[int]:
        assert "redis.call('TIME')" in script or "SET" in script
        ours = script.replace("redis.call('TIME')", f"{{'{self.now_s}', '0'}}")
        return await self._scripts.run(ours, keys, arguments)

    async def close(self) -> None:
        await self._scripts.close()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"login_rate_limit": LIMIT})


@pytest.fixture
def clock(house: House) -> TimedScripts:
    """The clock of attempts at passwords."""
    services = house.services
    timed = TimedScripts(services.limits.scripts)
    services.accounts = Accounts(
        settings=services.settings,
        database=services.database,
        follower=services.follower,
        tokens=services.tokens,
        passwords=services.passwords,
        lockout=Lockout(timed, limit=LIMIT, prefix=services.settings.redis_prefix),
    )
    return timed


async def login(app: ASGIApp, email: str, password: str, headers: Headers) -> int:
    """The status of one attempt; straight into the application, since there are thousands."""
    body = json.dumps({"email": email, "password": password}).encode()
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/api/v1/auth/login",
        "raw_path": b"/api/v1/auth/login",
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [(b"host", b"testserver"), (b"content-type", b"application/json"), *headers],
        "client": ("127.0.0.1", 50_000),
        "server": ("testserver", 80),
    }
    pieces: Iterator[Message] = iter([{"type": "http.request", "body": body}])
    statuses: list[int] = []

    async def receive() -> Message:
        return next(pieces, {"type": "http.disconnect"})

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(scope, receive, send)
    return statuses[0]


def application(house: House) -> ASGIApp:
    transport: Any = house.http._transport
    app: ASGIApp = transport.app
    return app


def address(number: int) -> str:
    return f"203.0.{number // 250}.{number % 250}"


def claimed(number: int) -> Headers:
    """What a client says of itself."""
    return [(b"x-forwarded-for", address(number).encode())]


def proven(number: int) -> Headers:
    """What our edge says of a client."""
    return [*claimed(number), (b"x-slipway-edge", EDGE_TOKEN.encode())]


async def attack(
    house: House, email: str, headers: list[Headers], guesses: int = GUESSES
) -> Counter[int]:
    """Statuses of so many attempts, from each of these places in turn."""
    app = application(house)
    return Counter(
        [
            await login(app, email, f"wrong guess {n}", headers[n % len(headers)])
            for n in range(guesses)
        ]
    )


async def test_from_one_address_no_more_than_the_limit_are_evaluated(
    house: House, clock: TimedScripts
) -> None:
    account = await house.make_user()

    statuses = await attack(house, account.email, [proven(1)])

    assert statuses == {401: LIMIT, 429: GUESSES - LIMIT}
    # Who is elsewhere waits a minute at most, however long the attack goes on.
    clock.now_s += 60
    assert await login(application(house), account.email, PASSWORD, proven(2)) == 200


async def test_addresses_that_a_client_makes_up_count_as_its_own(
    house: House, clock: TimedScripts
) -> None:
    account = await house.make_user()

    statuses = await attack(house, account.email, [claimed(n) for n in range(1000)])

    assert statuses == {401: LIMIT, 429: GUESSES - LIMIT}
    clock.now_s += 60
    assert await login(application(house), account.email, PASSWORD, proven(2000)) == 200


async def test_a_thousand_real_addresses_get_no_more_at_one_account(
    house: House, clock: TimedScripts
) -> None:
    account = await house.make_user()
    app, at_home = application(house), proven(5000)
    assert await login(app, account.email, PASSWORD, at_home) == 200

    places = [proven(n) for n in range(1000)]
    statuses = await attack(house, account.email, places, REAL_GUESSES)

    assert statuses == {401: LIMIT, 429: REAL_GUESSES - LIMIT}
    # Where the account is known it is not locked at all, elsewhere not for more than a minute.
    assert await login(app, account.email, PASSWORD, at_home) == 200
    assert await login(app, account.email, PASSWORD, proven(6000)) == 429
    clock.now_s += 60
    assert await login(app, account.email, PASSWORD, proven(6000)) == 200

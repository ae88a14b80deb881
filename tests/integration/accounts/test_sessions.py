"""Sign in, stay signed in, sign out: over HTTP and a real registry."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import text

from cluster.settings import Settings
from tests.integration.accounts.conftest import EDGE_TOKEN, PASSWORD, House

pytestmark = pytest.mark.anyio


async def refresh(house: House, token: str) -> httpx.Response:
    return await house.http.post("/api/v1/auth/refresh", json={"refresh_token": token})


async def test_me_says_who_i_am(house: House) -> None:
    account = await house.make_user(role="publisher")

    answer = await house.http.get("/api/v1/auth/me", headers=await house.bearer(account))

    assert answer.json()["id"] == account.id
    assert answer.json()["role"] == "publisher"
    assert answer.json()["created_at"].endswith("Z")


async def test_a_login_says_the_same_of_a_wrong_password_and_an_unknown_user(
    house: House,
) -> None:
    known = await house.make_user()
    inactive = await house.make_user()
    admin = await house.sign_in("admin")
    await house.http.patch(f"/api/v1/users/{inactive.id}", json={"is_active": False}, headers=admin)
    attempts = [
        {"email": known.email, "password": "a wrong password"},
        {"email": "nobody@example.org", "password": PASSWORD},
        {"email": inactive.email, "password": PASSWORD},
        {"email": "no address", "password": "x"},
        {"email": "nul\0@example.org", "password": "x"},
    ]

    answers = [await house.http.post("/api/v1/auth/login", json=sent) for sent in attempts]

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.json()["error"] for answer in answers}) == 1
    assert len({frozenset(answer.json()) for answer in answers}) == 1
    for answer in answers:
        del answer.headers["x-request-id"]
    assert len({frozenset(answer.headers.items()) for answer in answers}) == 1


async def test_a_refresh_spends_the_token_and_gives_another(house: House) -> None:
    first = await house.login(await house.make_user())

    second = (await refresh(house, first["refresh_token"])).json()
    third = await refresh(house, second["refresh_token"])

    assert third.status_code == 200
    tokens = {first["refresh_token"], second["refresh_token"], third.json()["refresh_token"]}
    assert len(tokens) == 3


async def test_repeated_within_the_grace_it_gives_the_same_again(house: House) -> None:
    first = await house.login(await house.make_user())

    answers = await asyncio.gather(*(refresh(house, first["refresh_token"]) for _ in range(8)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1


async def test_repeated_after_the_grace_it_ends_the_session(house: House) -> None:
    first = await house.login(await house.make_user())
    second = (await refresh(house, first["refresh_token"])).json()
    await house.services.database.write(
        lambda session: session.execute(
            text("UPDATE refresh_tokens SET spent_at = spent_at - interval '11 seconds'")
        )
    )

    reused = await refresh(house, first["refresh_token"])

    assert reused.status_code == 401
    assert (await refresh(house, second["refresh_token"])).status_code == 401
    assert await house.status({"Authorization": f"Bearer {second['access_token']}"}) == 401


@pytest.mark.parametrize("everywhere", [False, True])
async def test_a_logout_ends_the_session_at_once(house: House, *, everywhere: bool) -> None:
    account = await house.make_user()
    here, there = await house.login(account), await house.login(account)
    bearers = [{"Authorization": f"Bearer {pair['access_token']}"} for pair in (here, there)]
    assert [await house.status(bearer) for bearer in bearers] == [200, 200]
    sent = {"refresh_token": here["refresh_token"], "everywhere": everywhere}

    answers = [await house.http.post("/api/v1/auth/logout", json=sent) for _ in range(2)]

    assert [(answer.status_code, answer.content) for answer in answers] == [(204, b"")] * 2
    assert [await house.status(bearer) for bearer in bearers] == [401, 401 if everywhere else 200]
    assert (await refresh(house, here["refresh_token"])).status_code == 401


@pytest.mark.parametrize("path", ["refresh", "logout"])
async def test_an_access_token_is_no_refresh_token(path: str, house: House) -> None:
    pair = await house.login(await house.make_user())

    answer = await house.http.post(
        f"/api/v1/auth/{path}", json={"refresh_token": pair["access_token"]}
    )

    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")


async def test_a_refresh_token_is_no_access_token(house: House) -> None:
    pair = await house.login(await house.make_user())

    assert await house.status({"Authorization": f"Bearer {pair['refresh_token']}"}) == 401


async def test_a_refresh_token_has_an_end(house: House) -> None:
    account = await house.make_user()
    pair = await house.login(account)
    accounts = house.services.accounts
    accounts._now = lambda: datetime.now(UTC) + timedelta(days=8)

    assert (await refresh(house, pair["refresh_token"])).status_code == 401


async def test_another_password_ends_every_session(house: House) -> None:
    account = await house.make_user()
    pair = await house.login(account)
    bearer = {"Authorization": f"Bearer {pair['access_token']}"}
    path, new = "/api/v1/auth/password", "another horse battery"

    wrong = await house.http.post(path, json={"current": "x", "new": new}, headers=bearer)
    weak = await house.http.post(path, json={"current": PASSWORD, "new": "x"}, headers=bearer)
    assert await house.status(bearer) == 200
    right = await house.http.post(path, json={"current": PASSWORD, "new": new}, headers=bearer)

    assert [wrong.status_code, weak.status_code, right.status_code] == [401, 422, 204]
    assert await house.status(bearer) == 401
    assert (await refresh(house, pair["refresh_token"])).status_code == 401
    again = {"email": account.email, "password": new}
    assert (await house.http.post("/api/v1/auth/login", json=again)).status_code == 200


async def test_a_key_cannot_change_the_password(house: House) -> None:
    made = await house.make_key(await house.sign_in())

    answer = await house.http.post(
        "/api/v1/auth/password",
        json={"current": PASSWORD, "new": "another horse battery"},
        headers={"X-API-Key": made["key"]},
    )

    assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")


async def test_every_401_of_a_credential_looks_the_same(house: House) -> None:
    headers = await house.sign_in()
    made = await house.make_key(headers)
    await house.http.delete(f"/api/v1/api-keys/{made['id']}", headers=headers)
    other = await house.make_key(headers)
    credentials: list[dict[str, str]] = [
        {},
        {"X-API-Key": made["key"]},
        {"X-API-Key": "slp_nonsense"},
        {"Authorization": "Bearer a.b.c"},
        {"Authorization": "Basic YTpi"},
        {**headers, "X-API-Key": other["key"]},
    ]

    answers = [await house.http.get("/api/v1/auth/me", headers=each) for each in credentials]

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.json()["error"] for answer in answers}) == 1
    assert {a.headers["www-authenticate"] for a in answers} == {'Bearer realm="slipway"'}


class TestFewLogins:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        # A wait of twelve seconds and more, so that none passes by while the test runs.
        return settings.model_copy(update={"login_rate_limit": 5})

    async def test_forged_addresses_are_one(self, house: House) -> None:
        """Without the edge's secret a client does not choose its address."""
        account = await house.make_user()
        evaluated = 0
        for n in range(60):
            answer = await house.http.post(
                "/api/v1/auth/login",
                json={"email": account.email, "password": "a wrong password"},
                headers={"X-Forwarded-For": f"203.0.113.{n}", "X-Slipway-Edge": "guess"},
            )
            evaluated += answer.status_code == 401

        assert evaluated == 5
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) <= 60
        assert answer.json()["code"] == "rate_limited"

    async def test_strangers_cannot_lock_out_who_has_signed_in_from_there_before(
        self, house: House
    ) -> None:
        account = await house.make_user()

        async def login(client_address: str, password: str) -> int:
            edge = {"X-Slipway-Edge": EDGE_TOKEN, "X-Forwarded-For": client_address}
            sent = {"email": account.email, "password": password}
            return (
                await house.http.post("/api/v1/auth/login", json=sent, headers=edge)
            ).status_code

        assert await login("198.51.100.1", PASSWORD) == 200
        attack = [await login(f"203.0.113.{n}", "a wrong password") for n in range(40)]

        assert attack.count(401) == 5
        assert await login("203.0.113.200", PASSWORD) == 429
        assert await login("198.51.100.1", PASSWORD) == 200

"""Register over HTTP and a real registry: who may, what it answers, how often."""

import uuid

import httpx
import pytest

from cluster.settings import Settings
from tests.integration.accounts.conftest import PASSWORD, House

pytestmark = pytest.mark.anyio


def address() -> str:
    return f"{uuid.uuid4().hex[:10]}@Example.org"


async def register(house: House, address: str, **more: object) -> httpx.Response:
    sent = {"email": address, "password": PASSWORD, **more}
    return await house.http.post("/api/v1/auth/register", json=sent)


async def test_a_registration_gives_an_account_that_can_sign_in(house: House) -> None:
    email = address()

    answer = await register(house, email, full_name="Ada")
    login = await house.http.post(
        "/api/v1/auth/login", json={"email": email.upper(), "password": PASSWORD}
    )

    assert answer.status_code == 201
    assert answer.headers["location"] == "/api/v1/auth/me"
    assert uuid.UUID(answer.json()["id"])
    assert (answer.json()["email"], answer.json()["role"]) == (email.lower(), "publisher")
    assert login.status_code == 200
    assert set(login.json()) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (login.json()["token_type"], login.json()["expires_in"]) == ("bearer", 1800)


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        ({"role": "admin"}, 422, "'role'"),
        ({"email": "nobody"}, 422, "one @"),
        ({"email": "a@b\x00"}, 422, "one @"),
        ({"email": "x" * 250 + "@example.org"}, 422, "254"),
        ({"password": "short"}, 422, "12 to 128"),
        ({"password": "x" * 129}, 422, "12 to 128"),
        ({"password": None}, 422, "/password"),
    ],
)
async def test_a_registration_that_will_not_do(
    changes: dict[str, object], status: int, says: str, house: House
) -> None:
    answer = await register(house, address(), **changes)

    assert answer.status_code == status
    assert says in answer.json()["error"]


async def test_an_address_has_one_account(house: House) -> None:
    email = address()
    first = await register(house, email)

    second = await register(house, email.upper())

    assert (first.status_code, second.status_code) == (201, 409)
    assert second.json()["code"] == "email_taken"


async def test_a_repeated_registration_gets_the_same_answer(house: House) -> None:
    email, headers = address(), {"Idempotency-Key": "r1"}
    sent = {"email": email, "password": PASSWORD}
    path = "/api/v1/auth/register"

    first = await house.http.post(path, json=sent, headers=headers)
    again = await house.http.post(path, json=sent, headers=headers)
    stranger = await house.http.post(path, json={**sent, "password": "x" * 12}, headers=headers)
    changed = await house.http.post(path, json={**sent, "full_name": "A"}, headers=headers)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert stranger.status_code == 409
    assert (changed.status_code, changed.json()["code"]) == (422, "idempotency_key_reused")


class TestClosed:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"registration_open": False, "register_rate_limit": 3})

    async def test_registration_can_be_closed(self, house: House) -> None:
        answers = [await register(house, address()) for _ in range(5)]

        assert [answer.status_code for answer in answers] == [403, 403, 403, 429, 429]
        assert answers[-1].headers["ratelimit-policy"] == '"register";q=3;w=60'

"""API keys over HTTP: shown once, scoped, tied, expiring, revoked at once."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from cluster.settings import Settings
from tests.integration.accounts.conftest import House

pytestmark = pytest.mark.anyio
PATH = "/api/v1/api-keys"


async def test_a_key_is_shown_once_and_holds(house: House) -> None:
    headers = await house.sign_in()

    made = await house.make_key(headers, name="ci")
    listed = await house.http.get(PATH, headers=headers)

    assert made["key"].startswith(made["prefix"])
    assert made["scopes"] == ["predict"]
    assert made["key"] not in listed.text
    assert [item["name"] for item in listed.json()["items"]] == ["ci"]
    assert await house.status({"X-API-Key": made["key"]}) == 200
    assert await house.status({"Authorization": f"Bearer {made['key']}"}) == 200


async def test_a_revoked_key_holds_no_more_when_the_call_returns(house: House) -> None:
    headers = await house.sign_in()
    made = await house.make_key(headers)
    assert await house.status({"X-API-Key": made["key"]}) == 200

    answer = await house.http.delete(f"{PATH}/{made['id']}", headers=headers)

    assert (answer.status_code, answer.content) == (204, b"")
    assert await house.status({"X-API-Key": made["key"]}) == 401
    assert (await house.http.delete(f"{PATH}/{made['id']}", headers=headers)).status_code == 404


async def test_a_key_expires(house: House) -> None:
    soon = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    made = await house.make_key(await house.sign_in(), expires_at=soon)
    assert await house.status({"X-API-Key": made["key"]}) == 200

    identities = house.services.identities
    identities._wall_clock = lambda: datetime.now(UTC).timestamp() + 61

    assert await house.status({"X-API-Key": made["key"]}) == 401


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        ({}, "/name"),
        ({"name": ""}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"name": "a", "scopes": []}, "/scopes"),
        ({"name": "a", "scopes": ["root"]}, "/scopes/0"),
        ({"name": "a", "models": ["no-such-model"]}, "no-such-model"),
        ({"name": "a", "expires_at": "2020-01-01T00:00:00Z"}, "in the past"),
        ({"name": "a", "expires_at": "2999-01-01T00:00:00"}, "/expires_at"),  # no time zone
        ({"name": "a", "rate_limit": 0}, "/rate_limit"),
        ({"name": "a", "key": "slp_mine"}, "'key'"),
    ],
)
async def test_a_key_that_will_not_do(sent: dict[str, object], says: str, house: House) -> None:
    answer = await house.http.post(PATH, json=sent, headers=await house.sign_in())

    assert answer.status_code == 422
    assert says in answer.json()["error"]


async def test_a_name_is_taken_until_its_key_is_revoked(house: House) -> None:
    headers = {**await house.sign_in(), "Idempotency-Key": "once"}
    first = await house.make_key(headers, name="ci")

    second = await house.http.post(PATH, json={"name": "ci"}, headers=headers)
    await house.http.delete(f"{PATH}/{first['id']}", headers=headers)
    third = await house.http.post(PATH, json={"name": "ci"}, headers=headers)

    assert (second.status_code, second.json()["code"]) == (409, "key_name_taken")
    assert third.status_code == 201
    assert third.json()["key"] != first["key"]


async def test_a_key_hands_out_no_more_than_it_has(house: House) -> None:
    headers = await house.sign_in()
    keys = await house.make_key(headers, scopes=["keys", "predict"], rate_limit=10)
    by_key = {"X-API-Key": keys["key"]}

    more = await house.http.post(
        PATH, json={"name": "more", "scopes": ["models:write"]}, headers=by_key
    )
    same = await house.make_key(by_key, rate_limit=1000)
    none = await house.make_key(by_key)

    assert (more.status_code, more.json()["code"]) == (403, "not_permitted")
    assert (same["rate_limit"], none["rate_limit"]) == (10, 10)


async def test_a_predict_key_makes_and_lists_no_keys(house: House) -> None:
    made = await house.make_key(await house.sign_in())
    by_key = {"X-API-Key": made["key"]}

    answers = [
        await house.http.get(PATH, headers=by_key),
        await house.http.post(PATH, json={"name": "x"}, headers=by_key),
        await house.http.delete(f"{PATH}/{made['id']}", headers=by_key),
    ]

    assert [answer.status_code for answer in answers] == [403, 403, 403]


async def test_the_admin_scope_takes_an_admin(house: House) -> None:
    sent = {"name": "x", "scopes": ["admin"]}

    member = await house.http.post(PATH, json=sent, headers=await house.sign_in())
    admin = await house.http.post(PATH, json=sent, headers=await house.sign_in("admin"))

    assert (member.status_code, admin.status_code) == (403, 201)


async def test_a_rate_limit_over_http_is_lowered_for_all_but_admins(house: House) -> None:
    member = await house.make_key(await house.sign_in(), rate_limit=5_000_000)
    admin = await house.make_key(await house.sign_in("admin"), rate_limit=5_000_000)

    assert (member["rate_limit"], admin["rate_limit"]) == (100_000, 5_000_000)


async def test_other_peoples_keys_are_not_there(house: House) -> None:
    made = await house.make_key(await house.sign_in())
    stranger = await house.sign_in()

    answers = [
        await house.http.delete(f"{PATH}/{each}", headers=stranger)
        for each in (made["id"], "no-id", "00000000-0000-0000-0000-000000000000")
    ]

    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert await house.status({"X-API-Key": made["key"]}) == 200
    assert (await house.http.get(PATH, headers=stranger)).json()["total"] == 0


async def test_an_admin_revokes_anybodys_key(house: House) -> None:
    made = await house.make_key(await house.sign_in())

    answer = await house.http.delete(f"{PATH}/{made['id']}", headers=await house.sign_in("admin"))

    assert answer.status_code == 204
    assert await house.status({"X-API-Key": made["key"]}) == 401


async def test_the_last_use_is_shown(house: House) -> None:
    headers = await house.sign_in()
    made = await house.make_key(headers)
    assert made["last_used_at"] is None

    await house.status({"X-API-Key": made["key"]})
    await house.services.identities.close()

    listed = (await house.http.get(PATH, headers=headers)).json()["items"]
    assert listed[0]["last_used_at"].endswith("Z")


class TestFewKeys:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"max_keys_per_user": 3, "default_rate_limit": 20})

    async def test_a_quota_holds_under_concurrency(self, house: House) -> None:
        headers = await house.sign_in()

        answers = await asyncio.gather(
            *(house.http.post(PATH, json={"name": f"k{n}"}, headers=headers) for n in range(10))
        )

        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [201] * 3 + [429] * 7
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["code"] == "quota_exceeded"
        assert "retry-after" in refused.headers

    async def test_a_limit_is_said_on_every_answer_and_then_kept(self, house: House) -> None:
        headers = await house.sign_in()

        answers = [await house.http.get("/api/v1/auth/me", headers=headers) for _ in range(30)]

        assert [answer.status_code for answer in answers].count(200) in {20, 21}
        assert answers[0].headers["ratelimit-policy"] == '"other";q=20;w=60'
        assert answers[0].headers["ratelimit"] == '"other";r=19;t=3'
        assert answers[-1].status_code == 429
        assert answers[-1].headers["ratelimit"].startswith('"other";r=0;t=')
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 4

    async def test_a_key_with_a_limit_of_its_own_leaves_its_owners_alone(
        self, house: House
    ) -> None:
        headers = await house.sign_in()
        made = await house.make_key(headers, rate_limit=5)

        by_key = [await house.status({"X-API-Key": made["key"]}) for _ in range(10)]

        assert by_key.count(200) == 5
        assert await house.status(headers) == 200

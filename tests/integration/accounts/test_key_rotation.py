"""Keys are replaced without a gap: the new one holds at once, the old one for the overlap."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from cluster.settings import Settings
from serve_app.registry.pruning import prune
from serve_app.registry.tables import ApiKey
from tests.integration.accounts.conftest import House

pytestmark = pytest.mark.anyio
PATH = "/api/v1/api-keys"


async def rotate(
    house: House, headers: dict[str, str], key_id: str, **body: object
) -> httpx.Response:
    return await house.http.post(f"{PATH}/{key_id}/rotate", json=body, headers=headers)


def by(made: dict[str, Any]) -> dict[str, str]:
    return {"X-API-Key": made["key"]}


def later(house: House, seconds: float) -> None:
    """Let the time of the wall pass for credentials."""
    house.services.identities._wall_clock = lambda: datetime.now(UTC).timestamp() + seconds


async def test_both_keys_hold_during_the_overlap_and_the_new_one_after_it(house: House) -> None:
    headers = await house.sign_in()
    old = await house.make_key(headers, name="ci")
    assert await house.status(by(old)) == 200

    answer = await rotate(house, headers, old["id"], overlap_s=60)
    new = answer.json()

    assert answer.status_code == 201
    assert answer.headers["location"] == f"{PATH}/{new['id']}"
    assert (new["name"], new["replaces"]) == ("ci", old["id"])
    assert new["key"] != old["key"]
    assert [await house.status(by(each)) for each in (old, new)] == [200, 200]
    later(house, 61)
    assert [await house.status(by(each)) for each in (old, new)] == [401, 200]


async def test_without_an_overlap_the_old_key_ends_when_the_call_returns(house: House) -> None:
    headers = await house.sign_in()
    old = await house.make_key(headers)
    assert await house.status(by(old)) == 200

    new = (await rotate(house, headers, old["id"], overlap_s=0)).json()

    assert [await house.status(by(each)) for each in (old, new)] == [401, 200]
    assert (await house.http.get(PATH, headers=headers)).json()["total"] == 1


async def test_the_new_key_may_do_what_the_old_one_did(house: House) -> None:
    headers = await house.sign_in()
    end = (datetime.now(UTC) + timedelta(days=9)).isoformat()
    old = await house.make_key(
        headers,
        scopes=["predict", "models:read"],
        models=[str(uuid.uuid4())],
        rate_limit=7,
        expires_at=end,
    )

    new = (await rotate(house, headers, old["id"])).json()

    same = ("scopes", "models", "rate_limit", "expires_at")
    assert {name: new[name] for name in same} == {name: old[name] for name in same}


async def test_an_overlap_never_lengthens_a_key(house: House) -> None:
    headers = await house.sign_in()
    end = datetime.now(UTC) + timedelta(minutes=1)
    old = await house.make_key(headers, expires_at=end.isoformat())

    new = (await rotate(house, headers, old["id"], overlap_s=3600)).json()

    assert datetime.fromisoformat(new["old_expires_at"]) == end


@pytest.mark.parametrize("end", [None, "2999-01-01T00:00:00Z", "soon"])
async def test_a_name_may_be_rotated_again_and_again(end: str | None, house: House) -> None:
    headers = await house.sign_in()
    if end == "soon":
        # Sooner than the overlap: every retired key ends at one time.
        end = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    made = await house.make_key(headers, name="n" * 100, expires_at=end)

    for _ in range(3):
        made = (await rotate(house, headers, made["id"])).json()

    page = (await house.http.get(PATH, headers=headers)).json()
    assert made["name"] == "n" * 100
    assert len({item["name"] for item in page["items"]}) == page["total"] == 4


async def test_it_is_on_record_without_the_key(house: House) -> None:
    account = await house.make_user()
    headers = await house.bearer(account)
    old = await house.make_key(headers, name="ci")

    new = (await rotate(house, headers, old["id"], overlap_s=5)).json()

    found = await house.http.get(
        "/api/v1/audit",
        params={"actor": account.email, "action": "key.rotate"},
        headers=await house.sign_in("admin"),
    )
    (event,) = found.json()["items"]
    assert event["target_id"] == new["id"]
    assert event["details"] == {"name": "ci", "replaces": old["id"], "overlap_s": 5}
    assert new["key"] not in found.text


async def test_other_peoples_keys_are_not_there_not_even_for_admins(house: House) -> None:
    made = await house.make_key(await house.sign_in())

    answers = [
        await rotate(house, await house.sign_in(role), made["id"]) for role in ("member", "admin")
    ]

    assert [answer.status_code for answer in answers] == [404, 404]
    assert await house.status(by(made)) == 200


@pytest.mark.parametrize("sent", [{"overlap_s": -1}, {"overlap_s": 10**9}, {"overlap_s": "5"}])
async def test_an_overlap_that_will_not_do(sent: dict[str, object], house: House) -> None:
    headers = await house.sign_in()
    made = await house.make_key(headers)

    assert (await rotate(house, headers, made["id"], **sent)).status_code == 422


async def test_nobody_gets_hold_of_what_they_do_not_have(house: House) -> None:
    headers = await house.sign_in()
    writer = await house.make_key(headers, scopes=["models:write"])
    free = await house.make_key(headers)
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    weak = {
        "no scope": await house.make_key(headers, scopes=["predict"]),
        "fewer scopes": await house.make_key(headers, scopes=["keys", "predict"]),
        "tied": await house.make_key(
            headers, scopes=["keys", "predict"], models=[str(uuid.uuid4())]
        ),
        "ends": await house.make_key(headers, scopes=["keys", "predict"], expires_at=soon),
    }

    statuses = {
        name: (
            (await rotate(house, by(key), writer["id"])).status_code,
            (await rotate(house, by(key), free["id"])).status_code,
        )
        for name, key in weak.items()
    }

    # The untied key with fewer scopes may replace the one that has none it lacks.
    assert statuses == {
        "no scope": (403, 403),
        "fewer scopes": (403, 201),
        "tied": (403, 403),
        "ends": (403, 403),
    }


async def test_a_limited_key_gets_no_unlimited_one(house: House) -> None:
    headers = await house.sign_in()
    limited = await house.make_key(headers, scopes=["keys", "predict"], rate_limit=10)
    free = await house.make_key(headers)

    new = (await rotate(house, by(limited), free["id"])).json()

    assert new["rate_limit"] == 10


async def test_a_key_that_ends_makes_none_that_holds_longer(house: House) -> None:
    headers = await house.sign_in()
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    maker = await house.make_key(headers, scopes=["keys", "predict"], expires_at=soon)

    made = await house.make_key(by(maker))
    longer = await house.make_key(by(maker), expires_at="2999-01-01T00:00:00Z")

    assert made["expires_at"] == longer["expires_at"] == maker["expires_at"]


async def test_an_expired_key_is_not_replaced(house: House) -> None:
    headers = await house.sign_in()
    made = await house.make_key(headers)
    await expire(house, made["id"], timedelta(minutes=1))

    answer = await rotate(house, headers, made["id"])

    assert (answer.status_code, answer.json()["code"]) == (409, "key_expired")


async def test_a_key_that_expired_long_ago_frees_its_name(house: House) -> None:
    headers = await house.sign_in()
    old, new = [await house.make_key(headers, name=name) for name in ("long ago", "lately")]
    await expire(house, old["id"], timedelta(days=8))
    await expire(house, new["id"], timedelta(days=6))

    await house.services.database.write(prune)

    listed = (await house.http.get(PATH, headers=headers)).json()["items"]
    assert [item["name"] for item in listed] == ["lately"]
    assert (await house.make_key(headers, name="long ago"))["name"] == "long ago"


class TestFewKeys:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"max_keys_per_user": 2})

    async def test_a_full_quota_can_be_rotated_but_not_for_ever(self, house: House) -> None:
        headers = await house.sign_in()
        made = [await house.make_key(headers) for _ in range(2)]

        first = [await rotate(house, headers, each["id"]) for each in made]
        third = await rotate(house, headers, first[0].json()["id"])

        assert [answer.status_code for answer in first] == [201, 201]
        assert (third.status_code, third.json()["code"]) == (429, "quota_exceeded")

    async def test_expired_keys_take_no_place(self, house: House) -> None:
        headers = await house.sign_in()
        made = [await house.make_key(headers) for _ in range(2)]

        await expire(house, made[0]["id"], timedelta(minutes=1))

        assert (await house.make_key(headers))["scopes"] == ["predict"]


async def expire(house: House, key_id: str, ago: timedelta) -> None:
    """Make a key one that ended some time ago."""

    def change(session: Any) -> None:
        session.get(ApiKey, uuid.UUID(key_id)).expires_at = datetime.now(UTC) - ago

    await house.services.database.write(change)

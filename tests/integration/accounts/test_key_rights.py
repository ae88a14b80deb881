"""A key rules over keys that may do no more than it: it makes, replaces and revokes no others."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from tests.integration.accounts.conftest import House

pytestmark = pytest.mark.anyio
PATH = "/api/v1/api-keys"
HERE, ELSEWHERE = str(uuid.uuid4()), str(uuid.uuid4())
SOON = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
#: Keys that have a say over keys at all.
MAKERS: Mapping[str, dict[str, Any]] = {
    "keys alone": {"scopes": ["keys"]},
    "tied": {"scopes": ["keys", "predict"], "models": [HERE]},
    "free": {"scopes": ["keys", "predict"]},
    "ends": {"scopes": ["keys", "predict"], "expires_at": SOON},
}
#: What they are tried on; a key like the maker itself is added in each test.
OTHERS: Mapping[str, dict[str, Any]] = {
    "writes": {"scopes": ["models:write"]},
    "predicts": {"scopes": ["predict"]},
    "predicts here": {"scopes": ["predict"], "models": [HERE]},
    "predicts elsewhere": {"scopes": ["predict"], "models": [ELSEWHERE]},
    "predicts in both": {"scopes": ["predict"], "models": [HERE, ELSEWHERE]},
}
#: Those that each maker has a say over.
ALLOWED: Mapping[str, set[str]] = {
    "keys alone": set(),
    "tied": {"predicts here"},
    "free": {"predicts", "predicts here", "predicts elsewhere", "predicts in both"},
    "ends": {"predicts", "predicts here", "predicts elsewhere", "predicts in both"},
}


def by(made: dict[str, Any]) -> dict[str, str]:
    return {"X-API-Key": made["key"]}


@pytest.mark.parametrize(("maker", "other"), list(product(MAKERS, OTHERS)))
async def test_a_key_revokes_none_that_may_do_more(house: House, maker: str, other: str) -> None:
    headers = await house.sign_in()
    hand = by(await house.make_key(headers, **MAKERS[maker]))
    made = await house.make_key(headers, **OTHERS[other])

    answer = await house.http.delete(f"{PATH}/{made['id']}", headers=hand)

    is_allowed = other in ALLOWED[maker]
    assert answer.status_code == (204 if is_allowed else 403)
    assert await house.status(by(made)) == (401 if is_allowed else 200)


@pytest.mark.parametrize(("maker", "other"), list(product(MAKERS, OTHERS)))
async def test_a_key_makes_none_that_may_do_more(house: House, maker: str, other: str) -> None:
    headers = await house.sign_in()
    hand = by(await house.make_key(headers, **MAKERS[maker]))

    answer = await house.http.post(PATH, json={"name": "more", **OTHERS[other]}, headers=hand)

    assert answer.status_code == (201 if other in ALLOWED[maker] else 403)
    names = [item["name"] for item in (await house.http.get(PATH, headers=headers)).json()["items"]]
    assert ("more" in names) == (other in ALLOWED[maker])


@pytest.mark.parametrize("maker", list(MAKERS))
async def test_what_a_key_makes_ends_with_it(house: House, maker: str) -> None:
    headers = await house.sign_in()
    made = await house.make_key(headers, **MAKERS[maker])

    child = await house.make_key(
        by(made), scopes=["keys"], models=made["models"], expires_at="2999-01-01T00:00:00Z"
    )

    assert child["expires_at"] == (made["expires_at"] or "2999-01-01T00:00:00Z")
    assert child["models"] == made["models"]


@pytest.mark.parametrize("maker", list(MAKERS))
async def test_every_key_with_the_scope_revokes_itself(house: House, maker: str) -> None:
    made = await house.make_key(await house.sign_in(), **MAKERS[maker])

    answer = await house.http.delete(f"{PATH}/{made['id']}", headers=by(made))

    assert answer.status_code == 204
    assert await house.status(by(made)) == 401


async def test_a_tied_key_with_an_admins_power_revokes_none_for_other_models(house: House) -> None:
    admin = await house.sign_in("admin")
    tied = await house.make_key(admin, scopes=["keys", "admin"], models=[HERE])
    free = await house.make_key(admin, scopes=["keys", "admin"])
    made = await house.make_key(await house.sign_in())

    statuses = [
        (await house.http.delete(f"{PATH}/{made['id']}", headers=by(key))).status_code
        for key in (tied, free)
    ]

    assert statuses == [403, 204]


async def test_who_signed_in_revokes_a_key_that_outlived_their_role(house: House) -> None:
    account = await house.make_user(role="admin")
    made = await house.make_key(await house.bearer(account), scopes=["admin"])
    demoted = await house.http.patch(
        f"/api/v1/users/{account.id}", json={"role": "member"}, headers=await house.sign_in("admin")
    )
    assert demoted.status_code == 200

    answer = await house.http.delete(f"{PATH}/{made['id']}", headers=await house.bearer(account))

    assert answer.status_code == 204

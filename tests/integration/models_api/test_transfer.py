"""Administrators hand models over, as when their owner has left."""

import uuid

import httpx
import pytest

from tests.integration.models_api.conftest import House
from tests.integration.models_api.making import make

pytestmark = pytest.mark.anyio


async def accounts(house: House, *roles: str) -> list[tuple[str, httpx.AsyncClient]]:
    """New users: e-mail and client of each."""
    emails = [f"{uuid.uuid4().hex[:12]}@example.org" for _ in roles]
    return [
        (email, await house.user(email, role)) for email, role in zip(emails, roles, strict=True)
    ]


async def test_a_model_goes_to_its_new_owner_and_is_gone_for_the_old_one(house: House) -> None:
    (_, old), (email, new), (_, admin) = await accounts(house, "publisher", "member", "admin")
    model = await make(old, "iris")

    answer = await admin.put(f"/api/v1/models/{model['id']}/owner", json={"owner": email.upper()})

    assert (answer.status_code, answer.json()["owner"]) == (200, email)
    assert (await new.get("/api/v1/models/iris")).json()["id"] == model["id"]
    assert (await old.get(f"/api/v1/models/{model['id']}")).status_code == 404
    assert (await old.get("/api/v1/models")).json()["total"] == 0


async def test_the_models_of_a_deactivated_user_can_be_handed_over(house: House) -> None:
    (_, old), (email, new), (_, admin) = await accounts(house, "publisher", "member", "admin")
    model = await make(old, "iris")
    me = (await old.get("/api/v1/auth/me")).json()["id"]
    await admin.patch(f"/api/v1/users/{me}", json={"is_active": False})
    heir = (await new.get("/api/v1/auth/me")).json()["id"]

    answer = await admin.put(f"/api/v1/models/{model['id']}/owner", json={"owner": heir})

    assert answer.json()["owner"] == email
    assert (await new.get("/api/v1/models/iris")).status_code == 200


async def test_it_is_on_record_from_whom_to_whom(house: House) -> None:
    (giver, old), (email, _), (_, admin) = await accounts(house, "publisher", "member", "admin")
    model = await make(old, "iris")

    await admin.put(f"/api/v1/models/{model['id']}/owner", json={"owner": email})

    query = {"action": "model.transfer", "target_id": model["id"]}
    (event,) = (await admin.get("/api/v1/audit", params=query)).json()["items"]
    assert event["details"] == {"name": "iris", "from": giver, "to": email}


@pytest.mark.parametrize(("owner", "status"), [("nobody@example.org", 422), ("x", 422), (7, 422)])
async def test_an_owner_that_will_not_do(owner: object, status: int, house: House) -> None:
    (_, old), (_, admin) = await accounts(house, "publisher", "admin")
    model = await make(old, "iris")

    answer = await admin.put(f"/api/v1/models/{model['id']}/owner", json={"owner": owner})

    assert answer.status_code == status
    assert answer.json()["details"][0]["path"] == "/owner"


async def test_a_name_that_the_new_owner_has_is_a_conflict(house: House) -> None:
    (_, old), (email, new), (_, admin) = await accounts(house, "publisher", "publisher", "admin")
    model = await make(old, "iris")
    await make(new, "iris")

    answer = await admin.put(f"/api/v1/models/{model['id']}/owner", json={"owner": email})

    assert answer.status_code == 409
    assert (await old.get("/api/v1/models/iris")).status_code == 200


async def test_an_owner_cannot_give_a_model_away(house: House) -> None:
    (_, old), (email, _) = await accounts(house, "publisher", "member")
    await make(old, "iris")

    answer = await old.put("/api/v1/models/iris/owner", json={"owner": email})

    assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")

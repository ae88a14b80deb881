"""What administrators see and change, and what nobody else does."""

import json
import uuid

import pytest

from cluster.errors import RegistryUnavailable
from tests.integration.accounts.conftest import PASSWORD, House

pytestmark = pytest.mark.anyio
USERS, AUDIT = "/api/v1/users", "/api/v1/audit"


async def test_accounts_are_listed_by_page_and_filter(house: House) -> None:
    admin = await house.sign_in("admin")
    made = [await house.make_user(role="publisher") for _ in range(3)]

    page = (await house.http.get(f"{USERS}?role=publisher&limit=2", headers=admin)).json()
    rest = (await house.http.get(f"{USERS}?role=publisher&limit=2&offset=2", headers=admin)).json()

    assert page["total"] >= 3
    assert len(page["items"]) == 2
    ids = {item["id"] for item in page["items"] + rest["items"]}
    assert len(ids & {account.id for account in made}) >= 1
    assert "password" not in json.dumps(page)


async def test_one_account_is_shown(house: House) -> None:
    account = await house.make_user()
    admin = await house.sign_in("admin")

    found = await house.http.get(f"{USERS}/{account.id}", headers=admin)
    nobody = await house.http.get(f"{USERS}/{uuid.uuid4()}", headers=admin)
    no_id = await house.http.get(f"{USERS}/x", headers=admin)

    assert (found.json()["email"], found.json()["is_active"]) == (account.email, True)
    assert [nobody.status_code, no_id.status_code] == [404, 404]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", USERS),
        ("GET", f"{USERS}/x"),
        ("PATCH", f"{USERS}/x"),
        ("POST", f"{USERS}/x/password-reset"),
        ("GET", f"{USERS}/x/api-keys"),
        ("GET", AUDIT),
        ("GET", f"{AUDIT}/export"),
    ],
)
async def test_it_is_for_admins_alone(method: str, path: str, house: House) -> None:
    predict_key = await house.make_key(await house.sign_in("admin"))
    callers = [
        {},
        await house.sign_in("member"),
        await house.sign_in("publisher"),
        {"X-API-Key": predict_key["key"]},  # a key without the scope, though an admin's
    ]

    answers = [await house.http.request(method, path, headers=each, json={}) for each in callers]

    assert [answer.status_code for answer in answers] == [401, 403, 403, 403]


async def test_a_deactivated_user_is_out_at_once_and_keys_with_them(house: House) -> None:
    account = await house.make_user()
    bearer = await house.bearer(account)
    key = {"X-API-Key": (await house.make_key(bearer))["key"]}
    assert [await house.status(bearer), await house.status(key)] == [200, 200]
    admin = await house.sign_in("admin")

    off = {"is_active": False}
    answer = await house.http.patch(f"{USERS}/{account.id}", json=off, headers=admin)
    assert answer.json()["is_active"] is False
    assert [await house.status(bearer), await house.status(key)] == [401, 401]

    await house.http.patch(f"{USERS}/{account.id}", json={"is_active": True}, headers=admin)
    # Sessions ended for good; keys hold again.
    assert [await house.status(bearer), await house.status(key)] == [401, 200]


async def test_another_role_holds_at_once(house: House) -> None:
    account = await house.make_user()
    bearer = await house.bearer(account)
    assert (await house.http.get(USERS, headers=bearer)).status_code == 403

    await house.http.patch(
        f"{USERS}/{account.id}", json={"role": "admin"}, headers=await house.sign_in("admin")
    )

    assert (await house.http.get(USERS, headers=bearer)).status_code == 200


async def test_limits_are_set_and_taken_back_one_by_one(house: House) -> None:
    account = await house.make_user()
    admin, path = await house.sign_in("admin"), f"{USERS}/{account.id}"

    await house.http.patch(path, json={"limits": {"max_keys": 1, "rate_limit": 7}}, headers=admin)
    changed = await house.http.patch(path, json={"limits": {"rate_limit": None}}, headers=admin)
    bearer = await house.bearer(account)
    await house.make_key(bearer)
    refused = await house.http.post("/api/v1/api-keys", json={"name": "x"}, headers=bearer)

    assert changed.json()["limits"] == {"max_keys": 1}
    assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")


@pytest.mark.parametrize(
    "sent",
    [
        {"role": "root"},
        {"email": "x@y"},
        {"is_active": "yes"},
        {"limits": {"max_cpu": 1}},
        {"limits": {"rate_limit": 0}},
        {"limits": {"max_keys": -1}},
    ],
)
async def test_a_change_that_will_not_do(sent: dict[str, object], house: House) -> None:
    account = await house.make_user()

    answer = await house.http.patch(
        f"{USERS}/{account.id}", json=sent, headers=await house.sign_in("admin")
    )

    assert answer.status_code == 422


async def test_the_last_administrator_stays_one(house: House) -> None:
    admin = await house.make_user(role="admin")
    headers = await house.bearer(admin)
    others = (await house.http.get(f"{USERS}?role=admin&limit=100", headers=headers)).json()
    for other in others["items"]:
        if other["id"] != admin.id:
            changed = await house.http.patch(
                f"{USERS}/{other['id']}", json={"role": "member"}, headers=headers
            )
            assert changed.status_code == 200

    answers = [
        await house.http.patch(f"{USERS}/{admin.id}", json=sent, headers=headers)
        for sent in ({"role": "member"}, {"is_active": False})
    ]

    assert [(a.status_code, a.json()["code"]) for a in answers] == [(409, "last_admin")] * 2


@pytest.mark.parametrize("chosen", ["a chosen password", None])
async def test_a_reset_gives_another_password_and_ends_sessions(
    chosen: str | None, house: House
) -> None:
    account = await house.make_user()
    bearer = await house.bearer(account)
    sent = {"new": chosen} if chosen else {}

    answer = await house.http.post(
        f"{USERS}/{account.id}/password-reset", json=sent, headers=await house.sign_in("admin")
    )

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert (answer.json()["password"] is None) is (chosen is not None)
    assert await house.status(bearer) == 401
    password = chosen or answer.json()["password"]
    logins = [
        await house.http.post("/api/v1/auth/login", json={"email": account.email, "password": p})
        for p in (PASSWORD, password)
    ]
    assert [login.status_code for login in logins] == [401, 200]


async def test_an_admin_sees_anybodys_keys_without_the_keys(house: House) -> None:
    account = await house.make_user()
    made = await house.make_key(await house.bearer(account), name="theirs")

    answer = await house.http.get(
        f"{USERS}/{account.id}/api-keys", headers=await house.sign_in("admin")
    )

    assert [item["name"] for item in answer.json()["items"]] == ["theirs"]
    assert made["key"] not in answer.text


async def test_what_was_done_is_on_record_with_who_and_where(house: House) -> None:
    account = await house.make_user()
    bearer = await house.bearer(account)
    made = await house.make_key({**bearer, "X-Request-ID": "r-77"}, name="mine")
    admin = await house.sign_in("admin")

    page = await house.http.get(
        AUDIT, params={"actor": account.email, "action": "key"}, headers=admin
    )

    event = page.json()["items"][0]
    assert (event["action"], event["target_id"]) == ("key.create", made["id"])
    assert (event["actor_id"], event["request_id"]) == (account.id, "r-77")
    assert event["address"] == "127.0.0.1"
    assert made["key"] not in page.text
    assert page.json()["total"] == 1


async def test_accounts_leave_a_trail(house: House) -> None:
    account = await house.make_user()
    pair = await house.login(account)
    await house.http.post("/api/v1/auth/logout", json={"refresh_token": pair["refresh_token"]})
    admin = await house.sign_in("admin")

    page = await house.http.get(AUDIT, params={"actor": account.id}, headers=admin)

    actions = [event["action"] for event in page.json()["items"]]
    assert actions == ["session.close", "session.open"]


async def test_the_trail_is_exported_as_json_lines(house: House) -> None:
    account = await house.make_user()
    await house.login(account)
    admin = await house.sign_in("admin")

    answer = await house.http.get(f"{AUDIT}/export", params={"actor": account.email}, headers=admin)

    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["action"] for line in lines] == ["session.open"]


async def test_an_export_that_cannot_begin_is_an_error(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await house.sign_in("admin")
    assert await house.status(admin) == 200

    async def read(*_: object, **__: object) -> None:
        raise RegistryUnavailable("the registry cannot be reached now", retry_after_s=2)

    monkeypatch.setattr(house.services.database, "read", read)
    answer = await house.http.get(f"{AUDIT}/export", headers=admin)

    assert (answer.status_code, answer.json()["code"]) == (503, "registry_unavailable")


@pytest.mark.parametrize("path", [AUDIT, f"{AUDIT}/export"])
async def test_no_event_has_a_nul_in_it(path: str, house: House) -> None:
    answer = await house.http.get(f"{path}?target_id=%00", headers=await house.sign_in("admin"))

    assert answer.status_code == 422
    assert "target_id" in answer.json()["error"]


@pytest.mark.parametrize("query", ["limit=0", "limit=1000", "offset=-1", "since=now", "who=me"])
async def test_a_query_that_will_not_do(query: str, house: House) -> None:
    answer = await house.http.get(f"{AUDIT}?{query}", headers=await house.sign_in("admin"))

    assert answer.status_code == 422
    assert query.partition("=")[0] in answer.json()["error"]

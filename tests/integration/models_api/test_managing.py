"""Models, versions and aliases after their upload: lists, changes, deletions, downloads."""

import hashlib
import uuid
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from cluster.errors import ReplicaUnavailable
from serve_app.registry.stats import Tally, add
from serve_app.registry.versions import quarantine_version
from tests.integration.models_api.conftest import House, skops_file

pytestmark = pytest.mark.anyio

MODELS = "/api/v1/models"


async def make(client: httpx.AsyncClient, name: str, versions: int = 1) -> dict[str, Any]:
    """A model with that many versions."""
    files = {"file": ("m", skops_file(f"{name} 1"))}
    answer = await client.post(MODELS, files=files, data={"name": name})
    assert answer.status_code == 201, answer.text
    for number in range(2, versions + 1):
        files = {"file": ("m", skops_file(f"{name} {number}"))}
        more = await client.post(f"{MODELS}/{name}/versions", files=files)
        assert more.status_code == 201, more.text
    body: dict[str, Any] = answer.json()
    return body


async def new_user(house: House, role: str = "publisher") -> httpx.AsyncClient:
    return await house.user(f"{uuid.uuid4().hex}@example.org", role)


async def test_the_list_is_paged_newest_first(house: House) -> None:
    client = await new_user(house)
    for name in ("a", "b", "c"):
        await make(client, name)

    first = (await client.get(MODELS, params={"limit": 2})).json()
    rest = (await client.get(MODELS, params={"limit": 2, "offset": 2})).json()

    assert [item["name"] for item in first["items"]] == ["c", "b"]
    assert [item["name"] for item in rest["items"]] == ["a"]
    assert (first["total"], first["limit"], first["offset"]) == (3, 2, 0)


@pytest.mark.parametrize(
    "params",
    [{"limit": 0}, {"limit": 101}, {"limit": "x"}, {"offset": -1}, {"status": "gone"}],
)
async def test_a_page_has_bounds(house: House, params: dict[str, Any]) -> None:
    client = await new_user(house)

    answer = await client.get(MODELS, params=params)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


async def test_a_change_is_in_the_list_at_once_though_it_is_cached(house: House) -> None:
    client = await new_user(house)
    await make(client, "iris", versions=2)

    seen = []
    for version in (2, 1, 2):
        await client.put(f"{MODELS}/iris/aliases/production", json={"version": version})
        pages = [(await client.get(MODELS)).json() for _ in range(2)]
        seen.append([page["items"][0]["production"] for page in pages])

    assert seen == [[2, 2], [1, 1], [2, 2]]


async def test_a_repeated_list_asks_the_registry_nothing(house: House) -> None:
    client = await new_user(house)
    await make(client, "iris")
    await client.get(MODELS)
    engine = house.services.database._connections.engine()
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))

    await client.get(MODELS)

    assert [text for text in statements if "FROM models" in text] == []


async def test_one_user_never_sees_anothers_models(house: House) -> None:
    owner, other = await new_user(house), await new_user(house)
    made = await make(owner, "iris")

    paths = [f"{MODELS}/{made['id']}{tail}" for tail in ("", "/versions", "/aliases", "/stats")]
    answers = [await other.get(path) for path in paths]

    assert (await other.get(MODELS)).json()["total"] == 0
    assert {answer.status_code for answer in answers} == {404}
    assert {answer.json()["code"] for answer in answers} == {"model_not_found"}


async def test_a_shared_model_is_read_and_not_changed(house: House) -> None:
    owner = await new_user(house)
    friend = await house.user("friend@example.org")
    made = await make(owner, "iris")
    path = f"{MODELS}/{made['id']}"

    patched = await owner.patch(path, json={"shared_with": ["friend@example.org"]})
    seen = await friend.get(path)
    refused = [
        await friend.patch(path, json={"description": "mine"}),
        await friend.delete(path),
        await friend.put(f"{path}/aliases/production", json={"version": 1}),
        await friend.delete(f"{path}/versions/1"),
        await friend.get(f"{path}/versions/1/artifact"),
    ]

    assert patched.json()["visibility"] == "shared"
    assert seen.json()["shared_with"] == []
    assert seen.json()["endpoint"] == f"{path}/predict"
    assert {answer.status_code for answer in refused} == {403}


async def test_patch_changes_what_is_given(house: House) -> None:
    client = await new_user(house)
    await make(client, "iris")
    bounds = {"length": {"min": 0, "max": 10.5}}

    first = await client.patch(f"{MODELS}/iris", json={"description": "flowers"})
    second = await client.patch(f"{MODELS}/iris", json={"feature_bounds": bounds})

    assert (first.status_code, second.status_code) == (200, 200)
    assert second.json()["description"] == "flowers"
    assert second.json()["feature_bounds"] == bounds


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"name": "other"}, "name"),
        ({"visibility": "secret"}, "visibility"),
        ({"shared_with": ["nobody@example.org"]}, "nobody@example.org"),
        ({"feature_bounds": {"width": {"min": 0}}}, "width"),
        ({"feature_bounds": {"length": {"min": 2, "max": 1}}}, "greater"),
        ({"feature_bounds": {"length": {"least": 2}}}, "least"),
        ({"description": "x" * 2001}, "2000"),
        ({"description": 7}, "string"),
    ],
)
async def test_patch_refuses_by_name(house: House, body: dict[str, Any], said: str) -> None:
    client = await new_user(house)
    await make(client, "iris")

    answer = await client.patch(f"{MODELS}/iris", json=body)

    assert answer.status_code == 422
    assert said in answer.text


async def test_a_deleted_model_frees_its_name(house: House) -> None:
    client = await new_user(house)
    made = await make(client, "iris")

    gone = await client.delete(f"{MODELS}/iris")
    by_id = await client.get(f"{MODELS}/{made['id']}")
    again = await make(client, "iris")

    assert (gone.status_code, gone.content) == (204, b"")
    assert by_id.status_code == 404
    assert again["id"] != made["id"]
    assert again["version"] == 1


async def test_versions_are_listed_newest_first_with_their_aliases(house: House) -> None:
    client = await new_user(house)
    await make(client, "iris", versions=3)
    await client.put(f"{MODELS}/iris/aliases/canary", json={"version": 3})

    listed = (await client.get(f"{MODELS}/iris/versions")).json()
    by_alias = (await client.get(f"{MODELS}/iris/versions/canary")).json()

    found = [(item["version"], item["aliases"]) for item in listed["items"]]
    assert found == [(3, ["canary"]), (2, []), (1, ["production"])]
    assert listed["total"] == 3
    assert by_alias["version"] == 3
    assert by_alias["signature"]["features"][0]["name"] == "length"
    assert by_alias["cost_per_row_ms"] == {"predict": 0.01}


@pytest.mark.parametrize("version", ["9", "nightly", "0", "99999999999", "-1"])
async def test_an_unknown_version_is_404(house: House, version: str) -> None:
    client = await new_user(house)
    await make(client, "iris")

    answer = await client.get(f"{MODELS}/iris/versions/{version}")

    assert (answer.status_code, answer.json()["code"]) == (404, "model_not_found")


async def test_a_version_with_an_alias_stays(house: House) -> None:
    client = await new_user(house)
    await make(client, "iris", versions=2)

    kept = await client.delete(f"{MODELS}/iris/versions/1")
    gone = await client.delete(f"{MODELS}/iris/versions/2")

    assert (kept.status_code, kept.json()["code"]) == (409, "model_conflict")
    assert "production" in kept.json()["error"]
    assert gone.status_code == 204
    assert (await client.get(f"{MODELS}/iris/versions/2")).status_code == 404


async def test_an_alias_moves_and_remembers(house: House) -> None:
    client = await new_user(house)
    await make(client, "iris", versions=2)

    moved = await client.put(f"{MODELS}/iris/aliases/production", json={"version": 2})

    assert moved.status_code == 200
    assert moved.json()["version"] == 2
    assert moved.json()["previous_version"] == 1
    assert [ref.version for ref in house.predictors.warmed] == [2]


async def test_another_alias_moves_without_warming(house: House) -> None:
    client = await new_user(house)
    await make(client, "iris")

    await client.put(f"{MODELS}/iris/aliases/canary", json={"version": 1})
    listed = (await client.get(f"{MODELS}/iris/aliases")).json()["items"]
    gone = await client.delete(f"{MODELS}/iris/aliases/canary")

    assert [item["alias"] for item in listed] == ["canary", "production"]
    assert house.predictors.warmed == []
    assert gone.status_code == 204
    assert (await client.get(f"{MODELS}/iris/versions/canary")).status_code == 404


async def test_production_stays_when_the_version_cannot_be_loaded(house: House) -> None:
    client = await new_user(house)
    await make(client, "iris", versions=2)
    house.predictors.failure = ReplicaUnavailable("no replica answered", retry_after_s=3)

    answer = await client.put(f"{MODELS}/iris/aliases/production", json={"version": 2})

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "3"
    assert (await client.get(f"{MODELS}/iris")).json()["production"] == 1


@pytest.mark.parametrize(
    ("alias", "body", "status"),
    [
        # no such version
        ("production", {"version": 9}, 404),
        ("canary", {"version": 9}, 404),
        # an alias of digits would be a version
        ("12", {"version": 1}, 422),
        ("Bad", {"version": 1}, 422),
        # no version, an unknown member, another type
        ("canary", {}, 422),
        ("canary", {"version": 1, "force": True}, 422),
        ("canary", {"version": "1"}, 422),
        ("canary", {"version": 0}, 422),
    ],
)
async def test_bad_aliases(house: House, alias: str, body: dict[str, Any], status: int) -> None:
    client = await new_user(house)
    await make(client, "iris")

    answer = await client.put(f"{MODELS}/iris/aliases/{alias}", json=body)

    assert answer.status_code == status


async def test_a_quarantined_version_is_promoted_only_after_its_release(house: House) -> None:
    client = await new_user(house)
    made = await make(client, "iris", versions=2)
    await house.services.database.write(lambda s: quarantine_version(s, made["id"], 2))
    path = f"{MODELS}/iris/aliases/production"

    refused = await client.put(path, json={"version": 2})
    released = await client.post(f"{MODELS}/iris/versions/2/release")
    moved = await client.put(path, json={"version": 2})

    assert refused.status_code == 409
    assert (released.status_code, released.json()["status"]) == (200, "ready")
    assert moved.status_code == 200


async def test_the_list_filters_by_status(house: House) -> None:
    client = await new_user(house)
    made = await make(client, "broken")
    await make(client, "whole")
    written = await house.services.database.write(lambda s: quarantine_version(s, made["id"], 1))
    await house.services.follower.settle(written.sequence)

    names = {
        status: [
            item["name"]
            for item in (await client.get(MODELS, params={"status": status})).json()["items"]
        ]
        for status in ("ready", "quarantined")
    }

    assert names == {"ready": ["whole"], "quarantined": ["broken"]}


async def test_the_owner_gets_the_file_back(house: House) -> None:
    client = await new_user(house)
    await make(client, "iris")
    content = skops_file("iris 1")

    answer = await client.get(f"{MODELS}/iris/versions/production/artifact")
    known = await client.get(
        f"{MODELS}/iris/versions/1/artifact", headers={"If-None-Match": answer.headers["etag"]}
    )

    assert answer.content == content
    assert answer.headers["etag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    assert answer.headers["content-disposition"] == 'attachment; filename="iris-1.skops"'
    assert int(answer.headers["content-length"]) == len(content)
    assert (known.status_code, known.content) == (304, b"")


async def test_a_file_that_the_store_has_lost_is_503(house: House) -> None:
    client = await new_user(house)
    await make(client, "iris")
    house.loaders.stored.clear()

    answer = await client.get(f"{MODELS}/iris/versions/1/artifact")

    assert (answer.status_code, answer.json()["code"]) == (503, "model_unavailable")


async def test_stats_add_up_by_version(house: House) -> None:
    client = await new_user(house)
    made = await make(client, "iris", versions=2)
    tallies = {}
    for version, requests in ((1, 3), (2, 5)):
        tally = Tally(requests=requests, errors=1)
        tally.histogram[10] = requests
        tallies[made["id"], version] = tally
    await house.services.database.write(lambda s: add(s, "replica", tallies))

    stats = (await client.get(f"{MODELS}/iris/stats")).json()

    assert (stats["requests"], stats["errors"]) == (8, 2)
    assert stats["last_hour"]["by_version"]["2"]["requests"] == 5
    assert 0 < stats["p50_ms"] < stats["last_day"]["p95_ms"]


async def test_stats_of_an_unused_model_are_zero_and_null(house: House) -> None:
    client = await new_user(house)
    await make(client, "iris")

    stats = (await client.get(f"{MODELS}/iris/stats")).json()

    assert (stats["requests"], stats["p50_ms"], stats["by_version"]) == (0, None, {})


async def test_an_admin_reaches_any_model_by_its_id(house: House) -> None:
    owner, admin = await new_user(house), await new_user(house, "admin")
    made = await make(owner, "iris")

    seen = await admin.get(f"{MODELS}/{made['id']}")
    changed = await admin.patch(f"{MODELS}/{made['id']}", json={"description": "by an admin"})

    assert seen.json()["name"] == "iris"
    assert changed.status_code == 200


async def test_every_route_is_described_in_openapi(house: House) -> None:
    client = await new_user(house)

    paths = (await client.get("/openapi.json")).json()["paths"]

    form = paths[MODELS]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["file", "name"]
    assert {path for path in paths if path.startswith(MODELS)} >= {
        MODELS,
        f"{MODELS}/{{model}}",
        f"{MODELS}/{{model}}/versions",
        f"{MODELS}/{{model}}/versions/{{version}}",
        f"{MODELS}/{{model}}/versions/{{version}}/artifact",
        f"{MODELS}/{{model}}/versions/{{version}}/release",
        f"{MODELS}/{{model}}/aliases",
        f"{MODELS}/{{model}}/aliases/{{alias}}",
        f"{MODELS}/{{model}}/stats",
    }

"""Models after their upload: changes, deletions, downloads, statistics."""

import hashlib
from typing import Any

import pytest

from serve_app.registry.stats import Tally, add
from tests.integration.models_api.conftest import House, skops_file
from tests.integration.models_api.making import MODELS, make, new_user

pytestmark = pytest.mark.anyio


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

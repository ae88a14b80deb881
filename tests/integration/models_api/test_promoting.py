"""Versions and the aliases that move between them."""

from typing import Any

import pytest

from cluster.errors import ReplicaUnavailable
from serve_app.registry.versions import quarantine_version
from tests.integration.models_api.conftest import House
from tests.integration.models_api.making import MODELS, make, new_user

pytestmark = pytest.mark.anyio


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

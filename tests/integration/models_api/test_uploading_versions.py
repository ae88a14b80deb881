"""POST a version: when it is promoted, and what is refused."""

import pytest

from cluster.errors import ReplicaUnavailable
from tests.integration.models_api.conftest import House, skops_file
from tests.integration.models_api.uploading import production, upload, upload_version

pytestmark = pytest.mark.anyio


async def test_a_second_version_waits_to_be_promoted(house: House) -> None:
    client = await house.user("second@example.org")
    await upload(client, "iris", skops_file("1"))

    answer = await upload_version(client, "iris", skops_file("2"))

    assert answer.status_code == 201
    assert answer.json()["version"] == 2
    assert await production(client, "iris") == 1
    assert house.predictors.warmed == []


async def test_promotion_warms_the_version_first(house: House) -> None:
    client = await house.user("warm@example.org")
    await upload(client, "iris", skops_file("1"))

    answer = await upload_version(client, "iris", skops_file("2"), promote="true")

    assert answer.status_code == 201
    assert await production(client, "iris") == 2
    assert [ref.version for ref in house.predictors.warmed] == [2]
    assert house.predictors.warmed[0].sha256 == answer.json()["sha256"]


async def test_a_version_that_cannot_be_warmed_is_not_promoted(house: House) -> None:
    client = await house.user("cold@example.org")
    await upload(client, "iris", skops_file("1"))
    house.predictors.failure = ReplicaUnavailable("no replica answered")

    answer = await upload_version(client, "iris", skops_file("2"), promote="true")

    assert answer.status_code == 503
    assert answer.json()["code"] == "replica_unavailable"
    assert "production was not moved" in answer.json()["error"]
    assert await production(client, "iris") == 1

    house.predictors.failure = None
    again = await upload_version(client, "iris", skops_file("2"), promote="true")

    assert (again.status_code, again.json()["version"]) == (200, 2)
    assert await production(client, "iris") == 2


async def test_the_newest_versions_bytes_answer_that_version(house: House) -> None:
    client = await house.user("same@example.org")
    await upload(client, "iris", skops_file("1"))

    answer = await upload_version(client, "iris", skops_file("1"))

    assert answer.status_code == 200
    assert answer.json()["version"] == 1
    assert "location" not in answer.headers
    assert len(house.loaders.requests) == 1


async def test_another_users_model_takes_no_version(house: House) -> None:
    owner = await house.user("owner@example.org")
    other = await house.user("other@example.org")
    made = (await upload(owner, "iris")).json()

    by_name = await upload_version(other, "iris", skops_file("2"))
    by_id = await upload_version(other, made["id"], skops_file("2"))
    await owner.patch("/api/v1/models/iris", json={"visibility": "public"})
    public = await upload_version(other, made["id"], skops_file("2"))

    assert [by_name.status_code, by_id.status_code, public.status_code] == [404, 404, 403]

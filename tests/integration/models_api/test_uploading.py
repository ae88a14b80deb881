"""POST a model: what is stored, what is refused, what is answered twice."""

import hashlib
import json
import pickle
import uuid

import httpx
import pytest
from sqlalchemy import select

from serve_app.registry.tables import Model
from tests.integration.models_api.conftest import House, skops_file
from tests.integration.models_api.uploading import events, production, upload

pytestmark = pytest.mark.anyio


async def test_an_upload_answers_what_it_made(house: House) -> None:
    client = await house.user("first@example.org")
    content = skops_file("first")

    answer = await upload(client, "iris", content, description="Größe")

    body = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/api/v1/models/{body['id']}/versions/1"
    assert body == {
        "id": body["id"],
        "name": "iris",
        "version": 1,
        "status": "ready",
        "format": "skops",
        "sha256": hashlib.sha256(content).hexdigest(),
        "signature": body["signature"],
        "engine": "linear",
        "endpoint": "/api/v1/models/iris/predict",
    }
    assert body["signature"]["features"][0]["name"] == "length"
    assert (await client.get(answer.headers["location"])).json()["version"] == 1
    assert (await client.get("/api/v1/models/iris")).json()["description"] == "Größe"
    assert await production(client, "iris") == 1


async def test_warnings_travel_with_the_201(house: House) -> None:
    client = await house.user("warned@example.org")

    answer = await upload(client, "iris", skops_file("old"))

    assert answer.json()["warnings"] == ["trained with 1.8"]


async def test_examples_reach_the_loader_and_stay_with_the_version(house: House) -> None:
    client = await house.user("examples@example.org")
    examples = {"instances": [[1.5]], "predictions": [0], "method": "predict"}

    await upload(client, "iris", examples=json.dumps(examples))

    request = house.loaders.requests[-1]
    version = (await client.get("/api/v1/models/iris/versions/1")).json()
    assert request.examples is not None
    assert request.examples.instances == [[1.5]]
    assert version["examples"] == examples


async def test_a_refused_file_leaves_an_audit_row_and_no_model(house: House) -> None:
    client = await house.user("mallory@example.org")

    answer = await upload(client, "evil-model", skops_file("evil"))

    rows = await house.services.database.read(
        lambda s: s.scalars(select(Model).where(Model.name == "evil-model")).all()
    )
    noted = await events(house, "upload.refused")
    assert answer.status_code == 422
    assert answer.json()["code"] == "upload_refused"
    assert rows == []
    assert noted[-1].actor == "mallory@example.org"
    assert noted[-1].details["gate"] == "gate2"
    assert noted[-1].details["reason"] == "global"
    assert noted[-1].details["name"] == "os.system"
    assert noted[-1].request_id == answer.headers["x-request-id"]


async def test_a_member_is_told_how_to_save_as_skops(house: House) -> None:
    client = await house.user("member@example.org", role="member")

    answer = await upload(client, "iris", pickle.dumps({"a": 1}))

    assert answer.status_code == 403
    assert answer.json()["code"] == "not_permitted"
    assert "skops.io.dump" in answer.json()["error"]
    assert "administrator" in answer.json()["error"]
    assert (await events(house, "upload.refused"))[-1].details["format"] == "pickle"
    assert house.loaders.requests == []


async def test_formats_follow_the_role(house: House) -> None:
    member = await house.user("m2@example.org", role="member")
    publisher = await house.user("p2@example.org")

    await upload(member, "iris", skops_file("m2"))
    await upload(publisher, "iris", skops_file("p2"))

    asked = [request.allowed_formats for request in house.loaders.requests]
    assert asked == [("skops", "onnx"), ("skops", "onnx", "joblib", "pickle")]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("Iris", 422),
        ("", 422),
        ("a" * 65, 422),
        ("-iris", 422),
        ("ir is", 422),
        ("0b6f3a0e-6a57-4f6e-8d5c-0d7f4e5b8a11", 422),
        ("0b6f3a0e6a574f6e8d5c0d7f4e5b8a11", 422),
        ("a.b_c-9", 201),
    ],
)
async def test_names(house: House, name: str, status: int) -> None:
    client = await house.user(f"{uuid.uuid4().hex}@example.org")

    answer = await upload(client, name)

    assert answer.status_code == status
    assert len(house.loaders.requests) == (status == 201)


async def test_a_taken_name_is_refused_before_vetting(house: House) -> None:
    client = await house.user("taken@example.org")
    await upload(client, "iris", skops_file("one"))

    answer = await upload(client, "iris", skops_file("two"))

    assert answer.status_code == 409
    assert answer.json()["code"] == "model_conflict"
    assert len(house.loaders.requests) == 1


@pytest.mark.parametrize(
    ("files", "fields", "status", "code"),
    [
        # no file
        ({}, {"name": "x"}, 415, "unsupported_media_type"),
        # no name
        ({"file": b"abc"}, {}, 422, "invalid_input"),
        # a part we do not take
        ({"file": b"abc", "other": b"x"}, {"name": "x"}, 422, "invalid_input"),
        # nothing in it
        ({"file": b""}, {"name": "x"}, 422, "upload_refused"),
        # no model
        ({"file": b"<html>"}, {"name": "x"}, 422, "upload_refused"),
        # over MAX_UPLOAD_SIZE
        ({"file": b"x" * 100_001}, {"name": "x"}, 413, "too_large"),
    ],
)
async def test_bad_forms(
    house: House, files: dict[str, bytes], fields: dict[str, str], status: int, code: str
) -> None:
    client = await house.user(f"{uuid.uuid4().hex}@example.org")

    answer = await client.post("/api/v1/models", files=files, data=fields)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_a_broken_multipart_body_is_400(house: House) -> None:
    client = await house.user("broken@example.org")

    answer = await client.post(
        "/api/v1/models",
        content=b"--b\r\nContent-Disposition: form-data; name=",
        headers={"content-type": "multipart/form-data; boundary=b"},
    )

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_multipart")


async def test_quotas_are_the_callers_own_429(house: House) -> None:
    client = await house.user("greedy@example.org")
    await upload(client, "one", skops_file("1" * 80_000))

    answer = await upload(client, "two", skops_file("2" * 80_000))

    assert answer.status_code == 429
    assert answer.json()["code"] == "quota_exceeded"
    assert "retry-after" in answer.headers
    assert len(house.loaders.requests) == 1


async def test_an_idempotency_key_gives_the_same_answer(house: House) -> None:
    client = await house.user("twice@example.org")
    headers = {"Idempotency-Key": "once"}

    async def post(content: bytes) -> httpx.Response:
        files, data = {"file": ("m", content)}, {"name": "iris"}
        return await client.post("/api/v1/models", files=files, data=data, headers=headers)

    first = await post(skops_file("1"))
    again = await post(skops_file("1"))
    other = await post(skops_file("2"))

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotent-replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len(house.loaders.requests) == 1


async def test_a_refused_request_frees_its_idempotency_key(house: House) -> None:
    client = await house.user("retry@example.org")
    client.headers["Idempotency-Key"] = "again"

    answers = [await upload(client, "iris", skops_file("evil")) for _ in range(2)]

    assert [answer.json()["code"] for answer in answers] == ["upload_refused"] * 2


async def test_nobody_uploads_without_a_credential(house: House) -> None:
    async with httpx.AsyncClient(transport=house.transport, base_url="http://testserver") as client:
        answer = await upload(client, "iris")

    assert answer.status_code == 401

import math
import struct
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from cluster.contracts import Batch, Feature, OutputSpec
from cluster.errors import ReplicaUnavailable
from serve_app.api.open_inference import openapi_paths, routes
from tests.unit.serve_app.predicting import (
    BAD,
    Service,
    double,
    number,
    resolved,
    service,
    signature,
)

pytestmark = pytest.mark.anyio
FRAME = signature(
    number("age", nullable=True),
    Feature(name="city", type="string", nullable=False, dtype="str"),
    Feature(name="member", type="boolean", nullable=False, dtype="bool"),
    container="frame",
    outputs={"predict": OutputSpec(type="BYTES", shape=(-1,))},
)
TEXT = signature(
    Feature(name="text", type="string", nullable=False, dtype="object"), container="documents"
)
PROBA = {
    "predict": OutputSpec(type="INT64", shape=(-1,)),
    "predict_proba": OutputSpec(type="FP64", shape=(-1, 2)),
}


def classify(method: str, batch: Batch) -> Any:
    assert batch.matrix is not None
    share = batch.matrix[:, :1] / 10
    proba = np.hstack([1 - share, share])
    return proba if method == "predict_proba" else np.argmax(proba, axis=1)


def describe(_method: str, batch: Batch) -> Any:
    assert batch.columns is not None
    rows = zip(*(column.tolist() for column in batch.columns), strict=True)
    described = np.empty(batch.rows, dtype=object)
    described[:] = ["/".join(map(str, row)) for row in rows]
    return described


def not_finite(_method: str, batch: Batch) -> Any:
    return np.full(batch.rows, math.nan)


def models(**settings: Any) -> Service:
    matrix = signature(number("x0"), number("x1"))
    return service(
        {
            "double": (resolved("double", matrix), double),
            "classifier": (
                resolved("classifier", signature(number("x"), number("y"), outputs=PROBA)),
                classify,
            ),
            "frame": (resolved("frame", FRAME), describe),
            "text": (resolved("text", TEXT), describe),
            "odd": (resolved("odd", signature(number("x", nullable=True))), not_finite),
            "held": (resolved("held", matrix, status="quarantined"), double),
        },
        **settings,
    )


def tensor(data: Any, shape: list[int], datatype: str = "FP64", name: str = "any") -> Any:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


async def infer(model: str, body: Any, served: Service | None = None, **options: Any) -> Any:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    async with (served or models()).client() as client:
        return await client.post(f"/v2/models/{model}/infer", content=content, **options)


def binary(header: Any, *raws: bytes) -> tuple[bytes, dict[str, str]]:
    encoded = orjson.dumps(header)
    length = {"Inference-Header-Content-Length": str(len(encoded))}
    return encoded + b"".join(raws), length


def raw_input(raw: bytes, shape: list[int], datatype: str = "FP64", name: str = "any") -> Any:
    parameters = {"binary_data_size": len(raw)}
    return {"name": name, "shape": shape, "datatype": datatype, "parameters": parameters}


def texts(*values: str) -> bytes:
    encoded = [value.encode() for value in values]
    return b"".join(struct.pack("<I", len(value)) + value for value in encoded)


def error(response: httpx.Response) -> tuple[int, str, list[str]]:
    body = response.json()
    assert response.headers["content-type"] == "application/json"
    paths = [detail["path"] for detail in body.get("details", [])]
    return response.status_code, body["code"], paths


@pytest.mark.parametrize("data", [[[1, 2], [3, 4]], [1, 2, 3, 4]])
async def test_nested_and_flat_data_under_any_name(data: Any) -> None:
    body = {"id": "r-1", "inputs": [tensor(data, [2, 2])], "parameters": {"priority": 1}}

    assert (await infer("double", body)).json() == {
        "model_name": "double",
        "model_version": "1",
        "id": "r-1",
        "outputs": [{"name": "predict", "datatype": "FP64", "shape": [2], "data": [2.0, 6.0]}],
    }


async def test_one_tensor_a_feature_in_any_order() -> None:
    body = {
        "inputs": [
            tensor(["Bern", "Basel"], [2, 1], "BYTES", "city"),
            tensor([True, False], [2], "BOOL", "member"),
            tensor([41.5, None], [2], "FP64", "age"),
        ]
    }
    (output,) = (await infer("frame", body)).json()["outputs"]

    assert output["datatype"] == "BYTES"
    assert output["data"] == ["41.5/Bern/True", "nan/Basel/False"]


@pytest.mark.parametrize("shape", [[2], [2, 1]])
async def test_documents_are_bytes_in_json_and_in_binary(shape: list[int]) -> None:
    answer = (await infer("text", {"inputs": [tensor(["ä", "b"], shape, "BYTES")]})).json()
    assert answer["outputs"][0]["data"] == ["ä", "b"]

    raw = texts("ä", "b")
    body, headers = binary({"inputs": [raw_input(raw, shape, "BYTES")]}, raw)
    answer = (await infer("text", body, headers=headers)).json()
    assert answer["outputs"][0]["data"] == ["ä", "b"]


async def test_outputs_are_methods_by_name_each_in_its_own_way() -> None:
    body = {
        "inputs": [tensor([1, 0], [1, 2])],
        "outputs": [
            {"name": "predict_proba", "parameters": {"binary_data": True}},
            {"name": "predict"},
        ],
    }
    served = models()
    response = await infer("classifier", body, served)
    length = int(response.headers["inference-header-content-length"])
    header = orjson.loads(response.content[:length])

    assert header["outputs"] == [
        {
            "name": "predict_proba",
            "datatype": "FP64",
            "shape": [1, 2],
            "parameters": {"binary_data_size": 16},
        },
        {"name": "predict", "datatype": "INT64", "shape": [1], "data": [0]},
    ]
    assert np.frombuffer(response.content[length:], "<f8").tolist() == [0.9, 0.1]
    assert response.headers["content-type"] == "application/octet-stream"


async def test_binary_for_all_outputs_may_be_asked_for_at_once() -> None:
    body = {
        "inputs": [tensor([1, 2], [1, 2])],
        "parameters": {"binary_data_output": True},
    }
    response = await infer("double", body)
    length = int(response.headers["inference-header-content-length"])

    assert np.frombuffer(response.content[length:], "<f8").tolist() == [2.0]


@pytest.mark.parametrize(
    ("datatype", "dtype"),
    [("FP64", "<f8"), ("FP32", "<f4"), ("FP16", "<f2"), ("INT64", "<i8"), ("UINT8", "<u1")],
)
async def test_binary_numbers_of_any_datatype(datatype: str, dtype: str) -> None:
    raw = np.array([[1, 2], [3, 4]], dtype=dtype).tobytes()
    body, headers = binary({"inputs": [raw_input(raw, [2, 2], datatype)]}, raw)

    answer = (await infer("double", body, headers=headers)).json()
    assert answer["outputs"][0]["data"] == [2.0, 6.0]


async def test_a_large_float64_tensor_is_used_where_it_lies() -> None:
    numbers = np.random.default_rng(0).random((80_000, 2))
    body, headers = binary(
        {"inputs": [raw_input(numbers.tobytes(), [80_000, 2])]}, numbers.tobytes()
    )
    served = models()
    answer = (await infer("double", body, served, headers=headers)).json()

    assert answer["outputs"][0]["data"] == (numbers[:, 0] * 2).tolist()
    (call,) = served.predictors.calls
    assert call.batch.matrix is not None
    assert not call.batch.matrix.flags.owndata


async def test_several_binary_inputs_follow_each_other() -> None:
    cities, members = texts("Bern", "Basel"), b"\1\0"
    ages = np.array([41.5, math.nan]).tobytes()
    header = {
        "inputs": [
            raw_input(cities, [2], "BYTES", "city"),
            raw_input(members, [2], "BOOL", "member"),
            raw_input(ages, [2], "FP64", "age"),
        ]
    }
    body, headers = binary(header, cities, members, ages)
    answer = (await infer("frame", body, headers=headers)).json()

    assert answer["outputs"][0]["data"] == ["41.5/Bern/True", "nan/Basel/False"]


async def test_a_number_that_json_lacks_is_refused_in_json_and_sent_in_binary() -> None:
    body: Any = {"inputs": [tensor([1], [1, 1])]}
    assert error(await infer("odd", body)) == (422, "non_finite_output", [])

    body["parameters"] = {"binary_data_output": True}
    response = await infer("odd", body)
    length = int(response.headers["inference-header-content-length"])
    assert math.isnan(np.frombuffer(response.content[length:], "<f8")[0])


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [
        ("double", b"{", (400, "malformed_json", [])),
        ("double", {}, (400, "invalid_input", ["/inputs"])),
        ("double", {"inputs": [], "x": 1}, (400, "invalid_input", ["/x"])),
        ("double", {"inputs": [1]}, (400, "invalid_input", ["/inputs"])),
        ("double", {"inputs": [tensor([1, 2], [1, 2])], "id": 5}, (400, "invalid_input", ["/id"])),
        (
            "double",
            {"inputs": [tensor([1, 2], [1, 2], "BF16")]},
            (400, "invalid_input", ["/inputs/0/datatype"]),
        ),
        ("double", {"inputs": [tensor([1, 2], [1])]}, (400, "invalid_input", ["/inputs/0"])),
        ("double", {"inputs": [tensor([1], [1, 2])]}, (400, "invalid_input", ["/inputs/0"])),
        (
            "double",
            {"inputs": [tensor([[1, 2], [3]], [2, 2])]},
            (400, "invalid_input", ["/inputs/0"]),
        ),
        (
            "double",
            {"inputs": [tensor([1, 2], [1, 2, 1])]},
            (400, "invalid_input", ["/inputs/0/shape"]),
        ),
        (
            "double",
            {"inputs": [tensor([1, 2], [-1, 2])]},
            (400, "invalid_input", ["/inputs/0/shape"]),
        ),
        ("double", {"inputs": [tensor([], [0, 2])]}, (400, "invalid_input", ["/inputs/0"])),
        ("double", {"inputs": [tensor(["1", "2"], [1, 2])]}, (400, "invalid_input", ["/inputs/0"])),
        (
            "double",
            {"inputs": [tensor(["1", "2"], [1, 2], "BYTES")]},
            (400, "invalid_input", ["/inputs/0/data/0", "/inputs/0/data/1"]),
        ),
        (
            "double",
            {"inputs": [tensor([[1, None]], [1, 2])]},
            (400, "invalid_input", ["/inputs/0/data/0/1"]),
        ),
        (
            "double",
            {"inputs": [tensor([1.5, 2], [1, 2], "INT64")]},
            (400, "invalid_input", ["/inputs/0"]),
        ),
        (
            "double",
            {"inputs": [tensor([300, 2], [1, 2], "UINT8")]},
            (400, "invalid_input", ["/inputs/0"]),
        ),
        ("double", {"inputs": [tensor([BAD, 2], [1, 2])]}, (400, "prediction_failed", [])),
        ("double", {"inputs": [tensor([1, 2, 3], [1, 3])]}, (400, "invalid_input", ["/inputs/0"])),
        (
            "frame",
            {"inputs": [tensor([1], [1], name="age"), tensor([1], [1], name="age")]},
            (400, "invalid_input", ["/inputs/1"]),
        ),
        (
            "frame",
            {"inputs": [tensor([1], [1], name="age"), tensor([1], [1], name="size")]},
            (400, "invalid_input", ["/inputs/1"]),
        ),
        ("frame", {"inputs": [tensor([1], [1], name="age")]}, (400, "invalid_input", ["/inputs"])),
        (
            "double",
            {"inputs": [tensor([1, 2], [1, 2])], "outputs": [{"name": "transform"}]},
            (400, "unknown_method", ["/outputs/0/name"]),
        ),
        (
            "double",
            {"inputs": [tensor([1, 2], [1, 2])], "outputs": [{"name": "a"}, {"name": "a"}]},
            (400, "invalid_input", ["/outputs/1/name"]),
        ),
        ("nobody", {"inputs": [tensor([1, 2], [1, 2])]}, (404, "model_not_found", [])),
        ("held", {"inputs": [tensor([1, 2], [1, 2])]}, (503, "model_quarantined", [])),
    ],
)
async def test_refusals(model: str, body: Any, expected: tuple[int, str, list[str]]) -> None:
    assert error(await infer(model, body)) == expected


@pytest.mark.parametrize(
    ("described", "raw"),
    [
        (raw_input(b"\0" * 8, [1, 2]), b"\0" * 8),  # fewer bytes than the shape has
        (raw_input(b"\0" * 16, [1, 2]), b"\0" * 8),  # fewer than it says itself
        (raw_input(b"\0" * 16, [1, 2]), b"\0" * 24),  # more
        (raw_input(b"", [1, 2]) | {"data": [1, 2]}, b""),  # both ways at once
        ({"name": "any", "shape": [1, 2], "datatype": "FP64"}, b""),  # neither
        (raw_input(np.array([1, math.nan]).tobytes(), [1, 2]), np.array([1, math.nan]).tobytes()),
        (raw_input(np.array([1, math.inf]).tobytes(), [1, 2]), np.array([1, math.inf]).tobytes()),
        (
            raw_input(np.array([1, 2**53 + 1]).tobytes(), [1, 2], "INT64"),
            np.array([1, 2**53 + 1]).tobytes(),
        ),
        (raw_input(b"\5\0\0\0ab", [1, 2], "BYTES"), b"\5\0\0\0ab"),  # ends within a string
        (raw_input(b"\1\0\0", [1, 2], "BYTES"), b"\1\0\0"),  # ends within a length
        (raw_input(texts("a"), [1, 2], "BYTES"), texts("a")),  # a string too few
        (raw_input(b"\1\0\0\0\xff", [1, 1], "BYTES"), b"\1\0\0\0\xff"),  # not UTF-8
    ],
)
async def test_wrong_binary_tensors_are_400(described: Any, raw: bytes) -> None:
    body, headers = binary({"inputs": [described]}, raw)
    response = await infer("double", body, headers=headers)

    assert error(response)[:2] == (400, "invalid_input")


@pytest.mark.parametrize("length", ["0", "-1", "x", "999999", "9" * 30])
async def test_a_header_length_that_is_wrong_is_400(length: str) -> None:
    body = {"inputs": [tensor([1, 2], [1, 2])]}
    response = await infer("double", body, headers={"Inference-Header-Content-Length": length})

    assert response.status_code == 400


async def test_all_outputs_come_from_the_version_that_answered_first() -> None:
    body = {
        "inputs": [tensor([1, 0], [1, 2])],
        "outputs": [{"name": "predict"}, {"name": "predict_proba"}],
    }
    served = models()
    await infer("classifier", body, served)

    assert {call.version.key for call in served.predictors.calls} == {"id-of-classifier/1"}
    assert {call.method for call in served.predictors.calls} == {"predict", "predict_proba"}


async def test_server_health_and_model_descriptions() -> None:
    async with models().client() as client:
        server = (await client.get("/v2")).json()
        live = (await client.get("/v2/health/live")).json()
        ready = await client.get("/v2/health/ready")
        model = (await client.get("/v2/models/double/versions/1")).json()
        frame = (await client.get("/v2/models/frame")).json()
        config = (await client.get("/v2/models/classifier/config")).json()
        model_ready = (await client.get("/v2/models/double/ready")).json()

    assert set(server) == {"name", "version", "extensions"}
    assert "binary_tensor_data" in server["extensions"]
    assert live == {"live": True, "ready": True}
    assert ready.status_code == 200
    assert model == {
        "name": "double",
        "versions": ["1"],
        "platform": "sklearn_joblib",
        "inputs": [{"name": "input", "datatype": "FP64", "shape": [-1, 2]}],
        "outputs": [{"name": "predict", "datatype": "FP64", "shape": [-1]}],
    }
    assert [column["datatype"] for column in frame["inputs"]] == ["FP64", "BYTES", "BOOL"]
    assert config["input"] == [{"name": "input", "data_type": "TYPE_FP64", "dims": [2]}]
    assert config["output"][0] == {"name": "predict", "data_type": "TYPE_INT64", "dims": [1]}
    assert config["max_batch_size"] > 0
    assert model_ready == {"name": "double", "ready": True}


async def test_a_quarantined_or_unknown_model_is_not_ready() -> None:
    async with models().client() as client:
        held = await client.get("/v2/models/held/ready")
        unknown = await client.get("/v2/models/nobody/ready")

    assert error(held)[:2] == (503, "model_quarantined")
    assert error(unknown)[:2] == (404, "model_not_found")


async def test_health_needs_no_credential_and_models_do() -> None:
    async with models().client() as client:
        client.headers["X-API-Key"] = "bad"
        assert (await client.get("/v2")).status_code == 200
        assert (await client.get("/v2/health/ready")).status_code == 200
        assert (await client.get("/v2/models/double")).status_code == 401


async def test_without_predictors_the_service_is_not_ready() -> None:
    served = models()

    async def gone() -> None:
        raise ReplicaUnavailable("a replica was lost: try again")

    served.predictors.ping = gone  # type: ignore[method-assign]
    async with served.client() as client:
        response = await client.get("/v2/health/ready")

    assert error(response)[:2] == (503, "replica_unavailable")
    assert response.headers["retry-after"] == "1"


def test_the_openapi_document_has_every_route() -> None:
    assert set(openapi_paths()) == {route.path for route in routes}

import math
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from cluster.contracts import Batch, Feature, OutputSpec
from serve_app.api.predict import openapi_paths, routes
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
PROBA = OutputSpec(type="FP64", shape=(-1, 2))
PREDICT = OutputSpec(type="INT64", shape=(-1,))


def classify(method: str, batch: Batch) -> Any:
    assert batch.matrix is not None
    share = batch.matrix[:, :1] / 10
    proba = np.hstack([1 - share, share])
    return proba if method == "predict_proba" else np.argmax(proba, axis=1)


def lengths(_method: str, batch: Batch) -> Any:
    assert batch.columns is not None
    return np.array([len(text) for text in batch.columns[0]])


def not_finite(_method: str, batch: Batch) -> Any:
    return np.array([[0.1, math.nan], [math.inf, 2.0]])[: batch.rows]


CLASSIFIER = signature(
    number("x"),
    number("y"),
    outputs={"predict": PREDICT, "predict_proba": PROBA},
    classes=("no", "yes"),
)
TEXT = signature(
    Feature(name="text", type="string", nullable=False, dtype="object"), container="documents"
)


def models(**settings: Any) -> Service:
    return service(
        {
            "double": (resolved("double", signature(number("x0"), number("x1"))), double),
            "classifier": (resolved("classifier", CLASSIFIER, version=3), classify),
            "text": (resolved("text", TEXT), lengths),
            "odd": (resolved("odd", signature(number("x"))), not_finite),
            "held": (resolved("held", signature(number("x")), status="quarantined"), double),
            "dear": (
                resolved("dear", signature(number("x")), cost_per_row_s={"predict": 5.0}),
                double,
            ),
            "bounded": (
                resolved(
                    "bounded", signature(number("x")), feature_bounds={"x": {"min": 0, "max": 9}}
                ),
                double,
            ),
        },
        **settings,
    )


async def post(path: str, body: Any, served: Service | None = None, **options: Any) -> Any:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    async with (served or models()).client() as client:
        return await client.post(path, content=content, **options)


async def predict(model: str, body: Any, served: Service | None = None, **options: Any) -> Any:
    return await post(f"/api/v1/models/{model}/predict", body, served, **options)


def error(response: httpx.Response) -> tuple[int, str, list[str]]:
    body = response.json()
    assert set(body) <= {"error", "code", "request_id", "details"}
    assert response.headers["content-type"] == "application/json"
    return (
        response.status_code,
        body["code"],
        [detail["path"] for detail in body.get("details", [])],
    )


async def test_rows_are_answered_with_model_version_and_method() -> None:
    response = await predict("double", {"instances": [[1, 2], [0.25, 0]]})

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["ratelimit"].startswith('"predict"')
    assert response.json() == {
        "predictions": [2.0, 0.5],
        "model": "double",
        "version": 1,
        "method": "predict",
    }


async def test_records_and_any_content_type_are_taken() -> None:
    body = {"instances": [{"x1": 2, "x0": 1}]}
    response = await predict("double", body, headers={"Content-Type": "text/plain"})

    assert response.json()["predictions"] == [2.0]


async def test_probabilities_come_with_their_classes() -> None:
    body = {"instances": [[1, 0]], "method": "predict_proba", "version": 3}

    assert (await predict("classifier", body)).json() == {
        "predictions": [[0.9, 0.1]],
        "model": "classifier",
        "version": 3,
        "method": "predict_proba",
        "classes": ["no", "yes"],
    }


async def test_numbers_that_json_lacks_are_null_and_counted() -> None:
    body = (await predict("odd", {"instances": [[1], [2]]})).json()

    assert body["predictions"] == [[0.1, None], [None, 2.0]]
    assert body["non_finite"] == 2


async def test_a_large_answer_reads_back_equal() -> None:
    numbers = np.random.default_rng(0).random(1000)
    body = {"instances": [[value, 0] for value in numbers]}
    answer = (await predict("double", orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY))).json()

    assert answer["predictions"] == (numbers * 2).tolist()


@pytest.mark.parametrize(
    ("input_data", "expected"),
    [([1, 2], [2.0]), ([[1, 2], [3, 4]], [2.0, 6.0]), ([{"x0": 1, "x1": 2}], [2.0])],
)
async def test_the_older_shape_takes_one_row_or_many(input_data: Any, expected: list[Any]) -> None:
    response = await post("/api/v1/predict", {"model_id": "double", "input_data": input_data})

    assert response.json()["predictions"] == expected


async def test_a_flat_list_is_documents_to_a_text_model() -> None:
    response = await post("/api/v1/predict", {"model_id": "text", "input_data": ["a", "abc"]})

    assert response.json()["predictions"] == [1, 3]


async def test_pointers_go_into_the_flat_row_that_was_sent() -> None:
    response = await post("/api/v1/predict", {"model_id": "double", "input_data": [1, "2"]})
    assert error(response) == (422, "invalid_input", ["/input_data/1"])

    response = await post("/api/v1/predict", {"model_id": "double", "input_data": [1]})
    assert error(response) == (422, "invalid_input", ["/input_data"])


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [
        ("double", b"{", (400, "malformed_json", [])),
        ("double", b'{"instances": [[NaN, 1]]}', (400, "malformed_json", [])),
        ("double", b'{"instances": [[1, 2]], "instances": []}', (400, "malformed_json", [])),
        ("double", b"[]", (422, "invalid_input", [])),
        ("double", {}, (422, "invalid_input", ["/instances"])),
        ("double", {"instances": [[1, 2]], "x": 1}, (422, "invalid_input", ["/x"])),
        ("double", {"instances": [[1, 2]], "version": "1"}, (422, "invalid_input", ["/version"])),
        ("double", {"instances": [[1, 2]], "version": True}, (422, "invalid_input", ["/version"])),
        ("double", {"instances": [[1, 2]], "version": 9}, (404, "model_not_found", [])),
        ("double", {"instances": [[1, 2]], "method": 1}, (422, "invalid_input", ["/method"])),
        (
            "double",
            {"instances": [[1, 2]], "method": "transform"},
            (422, "unknown_method", ["/method"]),
        ),
        ("double", {"instances": [1, 2]}, (422, "invalid_input", ["/instances"])),
        ("double", {"instances": [[1, "2"]]}, (422, "invalid_input", ["/instances/0/1"])),
        ("double", {"instances": [[BAD, 2]]}, (422, "prediction_failed", [])),
        ("bounded", {"instances": [[10]]}, (422, "invalid_input", ["/instances/0/0"])),
        ("nobody", {"instances": [[1]]}, (404, "model_not_found", [])),
        ("held", {"instances": [[1]]}, (503, "model_quarantined", [])),
        ("dear", {"instances": [[1]] * 4}, (413, "too_large", [])),
    ],
)
async def test_refusals(model: str, body: Any, expected: tuple[int, str, list[str]]) -> None:
    assert error(await predict(model, body)) == expected


async def test_an_integer_too_long_for_the_parser_is_refused() -> None:
    body = b'{"instances": [[123456789012345678901234567890, 1]]}'

    assert error(await predict("double", body)) == (422, "invalid_input", ["/instances/0/0"])


async def test_an_unknown_method_names_those_there_are() -> None:
    body = {"instances": [[1, 2]], "method": "decision_function"}
    response = await predict("classifier", body)

    assert "predict, predict_proba" in response.json()["error"]


async def test_too_dear_a_request_names_the_batch_that_fits() -> None:
    response = await predict("dear", {"instances": [[1]] * 4})

    assert "at most 3 rows" in response.json()["error"]


async def test_too_many_rows_and_too_long_an_answer_are_refused() -> None:
    served = models(max_rows=3)
    assert error(await predict("double", {"instances": [[1, 2]] * 4}, served))[0] == 422

    served = models(max_response_size=1024)
    assert error(await predict("double", {"instances": [[0.1, 2]] * 600}, served))[0] == 413


async def test_without_a_credential_that_holds_nothing_is_said() -> None:
    response = await predict("double", b"", headers={"X-API-Key": "bad"})

    assert error(response) == (401, "not_authenticated", [])
    assert "ratelimit" not in response.headers


async def test_a_bearer_token_is_looked_up() -> None:
    headers = {"X-API-Key": "", "Authorization": "Bearer good"}
    response = await predict("double", {"instances": [[1, 2]]}, headers=headers)

    assert response.status_code == 200


async def test_an_error_carries_the_limits_headers_too() -> None:
    assert "ratelimit" in (await predict("double", b"{")).headers


@pytest.mark.parametrize("value", ["0", "-5", "abc", "1e3", "9" * 30])
async def test_a_timeout_that_is_none_is_refused(value: str) -> None:
    response = await predict("double", {"instances": [[1, 2]]}, headers={"X-Timeout-Ms": value})

    assert error(response) == (422, "invalid_input", [])


async def test_a_timeout_lowers_the_deadline_and_never_raises_it() -> None:
    served = models(request_timeout_s=2)
    body = {"instances": [[1, 2]]}
    await predict("double", body, served, headers={"X-Timeout-Ms": "500"})
    await predict("double", body, served, headers={"X-Timeout-Ms": "90000"})
    short, long = (call.timeout_s for call in served.predictors.calls)

    assert short <= 0.5
    assert 0.5 < long <= 2


async def test_a_deadline_that_passes_is_504() -> None:
    served = models()
    served.predictors.gate.clear()
    response = await predict(
        "double", {"instances": [[1, 2]]}, served, headers={"X-Timeout-Ms": "10"}
    )

    assert error(response) == (504, "deadline_exceeded", [])


async def test_each_prediction_is_observed_once() -> None:
    served = models()
    await predict("double", {"instances": [[1, 2], [3, 4]]}, served)
    await predict("double", {"instances": [[1, "x"]]}, served)
    await predict("double", {"instances": [[BAD, 0]]}, served)

    seen = [(outcome.code, outcome.rows, outcome.method) for outcome in served.outcomes]
    assert seen == [
        ("ok", 2, "predict"),
        ("invalid_input", 0, "predict"),
        ("prediction_failed", 1, "predict"),
    ]


async def test_another_method_is_405() -> None:
    async with models().client() as client:
        response = await client.get("/api/v1/models/double/predict")

    assert response.status_code == 405


def test_the_openapi_document_has_every_route() -> None:
    assert set(openapi_paths()) == {route.path for route in routes}

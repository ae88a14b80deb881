"""A model trained here, uploaded and predicted over HTTP, answers what scikit-learn answers."""

from typing import Any

import httpx
import numpy as np
import pytest

from tests.system.client import ApiUser, as_bytes
from tests.system.zoo import CASES, Case

FORMATS = ["joblib", "joblib-gz", "pickle", "skops"]
#: skops 0.16 cannot save a pandas Index, which chosen columns leave in the pipeline.
SAVED = [(n, f) for n in CASES for f in FORMATS if (n, f) != ("selected-columns", "skops")]


def expected(case: Case, method: str) -> Any:
    answer = getattr(case.model, method)(case.rows)
    return np.asarray(answer.todense() if hasattr(answer, "todense") else answer)


def assert_equal(answered: Any, wanted: np.ndarray[Any, Any]) -> None:
    if wanted.dtype.kind in "OUS":
        assert answered == wanted.tolist()
    else:
        np.testing.assert_allclose(np.asarray(answered), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "file_format"), SAVED)
def test_every_method_answers_as_scikit_learn_does(
    user: ApiUser, name: str, file_format: str
) -> None:
    case = CASES[name]()

    uploaded = user.upload(name, as_bytes(case.model, file_format))

    assert uploaded.status_code == httpx.codes.CREATED, uploaded.text
    methods = uploaded.json()["signature"]["methods"]
    assert "predict" in methods
    for method in methods:
        answer = user.predict(name, case.instances, method=method)
        assert answer.status_code == httpx.codes.OK, answer.text
        assert_equal(answer.json()["predictions"], expected(case, method))


def test_the_older_shape_answers_the_same(user: ApiUser) -> None:
    case = CASES["iris"]()
    user.upload("iris", as_bytes(case.model, "joblib")).raise_for_status()

    answer = user.http.post(
        "/api/v1/predict",
        json={"model_id": "iris", "input_data": case.instances[3]},
        headers={"X-API-Key": user.key},
    )

    assert answer.json()["predictions"] == case.model.predict(case.rows[3:4]).tolist()


def test_open_inference_answers_tensors(user: ApiUser) -> None:
    case = CASES["iris"]()
    user.upload("iris", as_bytes(case.model, "joblib")).raise_for_status()

    answer = user.http.post(
        "/v2/models/iris/infer",
        json={
            "id": "42",
            "inputs": [
                {
                    "name": "x",
                    "shape": list(case.rows.shape),
                    "datatype": "FP64",
                    "data": case.instances,
                }
            ],
            "outputs": [{"name": "predict"}, {"name": "predict_proba"}],
        },
        headers={"X-API-Key": user.key},
    )

    body = answer.raise_for_status().json()
    assert body["id"] == "42"
    outputs = {output["name"]: output for output in body["outputs"]}
    assert outputs["predict"]["datatype"] == "INT64"
    assert outputs["predict"]["data"] == case.model.predict(case.rows).tolist()
    probabilities = np.reshape(outputs["predict_proba"]["data"], outputs["predict_proba"]["shape"])
    np.testing.assert_allclose(probabilities, case.model.predict_proba(case.rows), atol=1e-12)


def test_open_inference_takes_documents(user: ApiUser) -> None:
    case = CASES["text"]()
    user.upload("text", as_bytes(case.model, "skops")).raise_for_status()
    tensor = {"name": "text", "shape": [2], "datatype": "BYTES", "data": case.instances[:2]}

    answer = user.http.post(
        "/v2/models/text/infer", json={"inputs": [tensor]}, headers={"X-API-Key": user.key}
    )

    output = answer.raise_for_status().json()["outputs"][0]
    assert output["datatype"] == "BYTES"
    assert output["data"] == case.model.predict(case.rows[:2]).tolist()

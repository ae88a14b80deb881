"""Gates, signature, engines, canary and examples in one go, without a sandbox."""

import hashlib
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures

from cluster.contracts import ArtifactFormat, Examples, VetReport, VetRequest
from cluster.errors import InvalidInput, UploadRefused
from deployments.intake import canary
from deployments.intake.verdict import report_from_json, report_to_json
from deployments.intake.vetting import vet

ROWS = np.random.default_rng(0).normal(size=(60, 3))
CLASSES = np.where(ROWS[:, 0] > 0, "yes", "no")
FOREST = RandomForestClassifier(5, random_state=0).fit(ROWS, CLASSES)


def _vet(
    estimator: BaseEstimator,
    *,
    allowed: tuple[ArtifactFormat, ...] = ("pickle", "joblib"),
    examples: Examples | None = None,
    recorded: dict[str, Any] | None = None,
) -> VetReport:
    content = pickle.dumps(estimator)
    request = VetRequest(
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        allowed_formats=allowed,
        examples=examples,
        recorded_canary=recorded or {},
    )
    return vet(content, request)


def test_a_report_says_what_the_version_is() -> None:
    report = _vet(FOREST)

    assert report.format == "pickle"
    assert report.signature.methods[:2] == ("predict", "predict_proba")
    assert report.signature.classes == ("no", "yes")
    assert set(report.engines) == set(report.signature.methods)
    assert 0 < report.cost_per_row_s["predict"] < 1
    assert report.memory_bytes > 1000
    assert report.warnings == ()
    assert {"sklearn", "numpy", "python", "loader"} <= set(report.libraries)


def test_a_report_travels_as_json_beside_its_arrays() -> None:
    report = _vet(FOREST)
    arrays = b"" if report.compiled is None else report.compiled.content

    assert report_from_json(report_to_json(report), arrays) == report


def test_the_canary_keeps_rows_and_answers() -> None:
    report = _vet(FOREST)
    answers = report.canary["answers"]

    assert len(report.canary["batch"]["matrix"]) == len(answers["predict"]) == 64
    assert set(answers["predict"]) <= {"no", "yes"}


@pytest.mark.parametrize("allowed", [("skops",), ("skops", "onnx")])
def test_a_format_beyond_the_role_is_refused_with_a_way_out(
    allowed: tuple[ArtifactFormat, ...],
) -> None:
    with pytest.raises(UploadRefused, match=r"skops\.io\.dump.*role publisher") as caught:
        _vet(FOREST, allowed=allowed)

    assert caught.value.public_code == "format_not_permitted"


def test_models_of_every_container_are_vetted() -> None:
    frame = pd.DataFrame({"size": ROWS[:, 0], "kind": CLASSES})
    encode = make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough")
    on_frame = make_pipeline(encode, LinearRegression()).fit(frame, ROWS[:, 1])
    on_text = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(
        ["good doctor", "bad price", "good space"], [1, 0, 1]
    )

    assert _vet(on_frame).signature.container == "frame"
    assert _vet(on_text).signature.kind == "text"


def test_a_model_that_overflows_on_some_rows_passes_with_those_marked() -> None:
    model = make_pipeline(PolynomialFeatures(12), LinearRegression()).fit(ROWS, ROWS[:, 0])
    answers = _vet(model).canary["answers"]["predict"]

    assert canary.RAISED in answers
    assert any(isinstance(answer, float) for answer in answers)


def test_a_model_that_fails_on_every_row_is_refused() -> None:
    model = KNeighborsClassifier(n_neighbors=5).fit(ROWS, CLASSES)
    model.n_neighbors = 10_000

    with pytest.raises(UploadRefused) as caught:
        _vet(model)
    assert caught.value.context["gate"] in ("gate3", "gate4")


def test_a_model_that_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "MAX_CANARY_CPU_S", 0.0)

    with pytest.raises(UploadRefused, match="processor time") as caught:
        _vet(FOREST)
    assert (caught.value.context["gate"], caught.value.context["reason"]) == ("gate4", "cpu")


def test_examples_that_agree_pass() -> None:
    examples = Examples(instances=ROWS[:4].tolist(), predictions=FOREST.predict(ROWS[:4]).tolist())

    assert _vet(FOREST, examples=examples).format == "pickle"


def test_examples_of_another_method_are_compared_as_floats() -> None:
    wanted = (FOREST.predict_proba(ROWS[:2]) + 1e-12).tolist()
    examples = Examples(instances=ROWS[:2].tolist(), predictions=wanted, method="predict_proba")

    assert _vet(FOREST, examples=examples).format == "pickle"


@pytest.mark.parametrize(
    ("predictions", "sentence"),
    [
        (["yes", "no", "maybe"], "example row 2: expected 'maybe', the model answers"),
        (["yes"], "1 predictions for 3 instances"),
    ],
)
def test_examples_that_differ_name_row_expected_and_got(
    predictions: list[str], sentence: str
) -> None:
    rows = [[5.0, 0.0, 0.0], [-5.0, 0.0, 0.0], [5.0, 0.0, 0.0]]
    with pytest.raises(UploadRefused, match=sentence) as caught:
        _vet(FOREST, examples=Examples(instances=rows, predictions=predictions))

    assert caught.value.public_code == "example_mismatch"
    assert caught.value.details[0]["path"].startswith("/examples/predictions")


@pytest.mark.parametrize(
    ("examples", "path"),
    [
        (Examples(instances=[[1.0, 2.0]]), "/examples/instances"),
        (Examples(instances=[["a", 1.0, 2.0]]), "/examples/instances"),
        (Examples(instances=[[1.0, 2.0, 3.0]], method="transform"), "/examples/method"),
        (Examples(instances=[[1.0, 2.0, 3.0]] * 101), "/examples/instances"),
    ],
)
def test_malformed_examples_are_invalid_input(examples: Examples, path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        _vet(FOREST, examples=examples)

    assert all(fault["path"].startswith(path) for fault in caught.value.details)


def test_a_version_that_answers_as_recorded_passes_again() -> None:
    first = _vet(FOREST)

    assert _vet(FOREST, recorded=first.canary).canary == first.canary


def test_a_version_that_answers_otherwise_than_recorded_is_refused() -> None:
    recorded = _vet(FOREST).canary
    recorded["answers"]["predict"][3] = "maybe"

    with pytest.raises(UploadRefused, match="row 3 of the canary") as caught:
        _vet(FOREST, recorded=recorded)
    assert caught.value.public_code == "canary_mismatch"


def test_answers_of_a_million_columns_are_recorded_by_what_is_not_zero() -> None:
    recorded = _vet(HashingVectorizer()).canary
    (first, *_) = recorded["answers"]["transform"]

    assert first[0] == 2**20
    assert 0 < len(first) - 1 < 100
    assert _vet(HashingVectorizer(), recorded=recorded).canary == recorded
    with pytest.raises(UploadRefused, match="of the canary"):
        _vet(HashingVectorizer(norm="l1"), recorded=recorded)

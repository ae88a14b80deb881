"""scikit-learn itself behind the engine protocol: shapes, errors, workers."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cluster.contracts import Batch, Feature, Signature
from cluster.errors import InvalidInput, PredictionFailed, TooLarge
from deployments.engines.inputs import estimator_input
from deployments.engines.native import NativeEngine
from deployments.engines.plain_values import MAX_DENSE_BYTES, plain_values
from deployments.signatures.derive import derive_signature


def feature(name: str, **values: Any) -> Feature:
    return replace(Feature(name=name, type="number", nullable=False), **values)


def signature(container: Any, *features: Feature) -> Signature:
    return Signature(
        kind="table",
        container=container,
        features=features,
        methods=("predict",),
        outputs={},
        classes=None,
        sklearn_version="",
    )


class Answering(BaseEstimator):  # type: ignore[misc]
    """Answers whatever it was made with."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer

    def predict(self, rows: Any) -> Any:
        del rows
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_a_raising_model_is_our_error_with_its_text_kept_for_the_log() -> None:
    engine = NativeEngine(Answering(ValueError("secret path")), signature("matrix", feature("a")))

    with pytest.raises(PredictionFailed) as failed:
        engine.run("predict", Batch(rows=1, matrix=np.zeros((1, 1))))

    assert "secret" not in failed.value.message
    assert failed.value.context["method"] == "predict"
    assert failed.value.context["library_text"] == "ValueError: secret path"


@pytest.mark.parametrize(
    ("raw", "expected", "dtype"),
    [
        (np.array([1, 2], dtype=np.int32), [1, 2], np.int64),
        (np.array([1.5, 2.5], dtype=np.float32), [1.5, 2.5], np.float64),
        (np.array([True, False]), [True, False], np.bool_),
        (np.array(["a", "bb"]), ["a", "bb"], np.object_),
        (scipy.sparse.csr_matrix([[0.0, 1.0], [2.0, 0.0]]), [[0, 1], [2, 0]], np.float64),
        (pd.DataFrame({"a": [1.0, 2.0]}), [[1.0], [2.0]], np.float64),
        (pd.Series([3, 4]), [3, 4], np.int64),
        (
            [np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([[1.0], [1.0]])],
            [[[0.5, 0.5], [1.0]], [[1.0, 0.0], [1.0]]],
            np.object_,
        ),
    ],
)
def test_answers_are_dense_and_of_four_dtypes(raw: Any, expected: Any, dtype: Any) -> None:
    values = plain_values("predict", raw, 2)

    assert values.tolist() == expected
    assert values.dtype == dtype


def test_a_single_row_that_lost_its_axis_gets_it_back() -> None:
    assert plain_values("transform", np.array([1.0, 2.0, 3.0]), 1).tolist() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize("raw", [np.zeros(3), np.float64(1.0), np.zeros(2, dtype=complex), None])
def test_answers_of_another_shape_are_the_models_failure(raw: Any) -> None:
    with pytest.raises(PredictionFailed):
        plain_values("predict", raw, 2)


def test_a_sparse_answer_too_large_when_dense_is_refused_before_it_is_made() -> None:
    columns = MAX_DENSE_BYTES // 8
    with pytest.raises(TooLarge, match="fewer rows"):
        plain_values("transform", scipy.sparse.csr_matrix((2, columns)), 2)


def test_worker_counts_are_taken_out_throughout() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 2))
    forest = RandomForestClassifier(3, n_jobs=2).fit(rows, rows[:, 0] > 0)
    model = make_pipeline(StandardScaler().fit(rows), forest)

    NativeEngine(model, derive_signature(model))

    assert forest.n_jobs is None


def test_library_warnings_about_one_callers_rows_are_no_failure() -> None:
    """Every warning is an error in this suite; feature names alone would raise one."""
    table = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0]})
    model = LogisticRegression().fit(table, [0, 0, 1, 1])
    derived = derive_signature(model)

    values = NativeEngine(model, derived).run("predict", Batch(rows=1, matrix=np.array([[9.0]])))

    assert (derived.container, values.tolist()) == ("matrix", [1])


def test_a_frame_has_the_training_dtypes_and_markers() -> None:
    wanted = signature(
        "frame",
        feature("f"),
        feature("i", type="integer", dtype="int64"),
        feature("o", type="string", dtype="object", missing="none"),
        feature("s", type="string", dtype="str"),
        feature("c", type="string", dtype="category"),
        feature("t", type="datetime", dtype="datetime64[ns]", missing="nat"),
        feature("n", type="integer", dtype="object", missing="na"),
    )
    texts = np.array(["x", None], dtype=object)
    columns = (
        np.array([1.5, math.nan]),
        np.array([1, 2]),
        texts,
        np.array(["x", math.nan], dtype=object),
        np.array(["x", "y"], dtype=object),
        np.array(["2024-01-01", "NaT"], dtype="datetime64[us]"),
        np.array([1, None], dtype=object),
    )

    frame = estimator_input(wanted, Batch(rows=2, columns=columns))

    assert [str(dtype) for dtype in frame.dtypes] == [
        "float64",
        "int64",
        "object",
        "str",
        "category",
        "datetime64[ns]",
        "object",
    ]
    assert frame["o"][1] is None
    assert frame["n"][1] is pd.NA
    assert frame["t"].isna().tolist() == [False, True]


def test_integers_widened_by_a_null_stay_as_they_are() -> None:
    wanted = signature("frame", feature("i", type="integer", dtype="int64", nullable=True))

    frame = estimator_input(wanted, Batch(rows=2, columns=(np.array([1.0, math.nan]),)))

    assert frame["i"].tolist()[0] == 1.0
    assert math.isnan(frame["i"].tolist()[1])


def test_columns_of_one_name_stay_two_columns() -> None:
    wanted = signature("frame", feature("a"), feature("a"))

    frame = estimator_input(wanted, Batch(rows=1, columns=(np.array([1.0]), np.array([2.0]))))

    assert frame.to_numpy().tolist() == [[1.0, 2.0]]


def test_documents_come_as_a_list_of_strings() -> None:
    texts = ["good film", "bad film"]
    model = TfidfVectorizer().fit(texts)
    column = np.array(texts, dtype=object)

    values = NativeEngine(model, derive_signature(model)).run(
        "transform", Batch(rows=2, columns=(column,))
    )

    np.testing.assert_array_equal(values, model.transform(texts).toarray())


def test_a_batch_of_another_layout_is_refused() -> None:
    with pytest.raises(InvalidInput):
        estimator_input(signature("matrix", feature("a")), Batch(rows=1, columns=()))
    with pytest.raises(InvalidInput):
        estimator_input(signature("frame", feature("a")), Batch(rows=1, columns=()))

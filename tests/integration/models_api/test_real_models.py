"""Real files through the real sandbox, Loader and Predictor, in one process and without Ray."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from tests.integration.models_api.real_platform import (
    Platform,
    as_joblib,
    as_skops,
    predict,
    real_platform,
    upload,
)

pytestmark = pytest.mark.anyio
__all__ = ["real_platform"]

Saver = Callable[[object], bytes]


@pytest.mark.parametrize("save", [pickle.dumps, as_joblib, as_skops])
async def test_each_format_predicts_what_scikit_learn_predicts(
    platform: Platform, save: Saver
) -> None:
    client = await platform.user()
    rows, classes = load_iris(return_X_y=True)
    model = RandomForestClassifier(n_estimators=10, random_state=0).fit(rows, classes)

    made = await upload(client, save(model))
    labels = await predict(client, rows.tolist())
    shares = await predict(client, rows.tolist(), "predict_proba")

    assert made.status_code == 201, made.text
    assert labels == model.predict(rows).tolist()
    np.testing.assert_allclose(np.array(shares), model.predict_proba(rows), atol=1e-12)


async def test_a_pipeline_fitted_on_a_frame_predicts_from_records(platform: Platform) -> None:
    client = await platform.user()
    frame = pd.DataFrame(
        {"age": [20.0, 30.0, None, 50.0], "city": ["Oslo", "Rome", "Oslo", "Rome"]}
    )
    model = make_pipeline(
        make_column_transformer(
            (make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
            (OneHotEncoder(), ["city"]),
        ),
        Ridge(),
    ).fit(frame, [1.0, 2.0, 3.0, 4.0])

    made = await upload(client, as_joblib(model))
    answers = await predict(client, [{"city": "Rome", "age": 30}, {"age": None, "city": "Oslo"}])

    assert made.status_code == 201, made.text
    np.testing.assert_allclose(np.array(answers), model.predict(frame)[[1, 2]], atol=1e-12)


async def test_a_text_model_takes_documents(platform: Platform) -> None:
    client = await platform.user(role="member")
    texts = ["good fine", "bad poor", "fine nice", "poor awful"]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, list("abab"))

    made = await upload(client, as_skops(model))

    assert made.status_code == 201, made.text
    assert await predict(client, texts) == model.predict(texts).tolist()


async def test_examples_are_run_and_a_mismatch_is_told(platform: Platform) -> None:
    client = await platform.user()
    rows, classes = load_iris(return_X_y=True)
    content = as_skops(LogisticRegression(max_iter=500).fit(rows, classes))
    right = {"instances": rows[:2].tolist(), "predictions": [0, 0]}
    wrong = {"instances": rows[:2].tolist(), "predictions": [0, 2]}

    refused = await upload(client, content, examples=json.dumps(wrong))
    taken = await upload(client, content, examples=json.dumps(right))

    assert (refused.status_code, refused.json()["code"]) == (422, "example_mismatch")
    assert taken.status_code == 201, taken.text


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


class _Shell:
    """A pickle that creates a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def _own_class(marker: Path) -> object:
    return _Shell(marker)


def _lambda(_marker: Path) -> object:
    model = FunctionTransformer(np.log1p)
    model.func = os.system
    return model


@pytest.mark.parametrize(
    ("make", "name"),
    [
        # code that runs when it is loaded
        (_own_class, "posix.system"),
        # a function that no model needs, as a parameter
        (_lambda, "posix.system"),
    ],
)
async def test_a_hostile_pickle_runs_nothing_and_is_named(
    platform: Platform, tmp_path: Path, make: Callable[[Path], object], name: str
) -> None:
    client = await platform.user()
    marker = tmp_path / "marker"

    answer = await upload(client, pickle.dumps(make(marker)))
    after = await upload(client, as_skops(Ridge().fit([[0.0], [1.0]], [0.0, 1.0])))

    assert (answer.status_code, answer.json()["code"]) == (422, "upload_refused")
    assert name in answer.json()["error"]
    assert names_in(tmp_path) == []
    assert after.status_code == 201, after.text


async def test_the_same_member_may_send_skops_and_not_joblib(platform: Platform) -> None:
    client = await platform.user(role="member")
    model = Ridge().fit([[0.0], [1.0]], [0.0, 1.0])

    refused = await upload(client, as_joblib(model))
    taken = await upload(client, as_skops(model))

    assert (refused.status_code, refused.json()["code"]) == (403, "not_permitted")
    assert taken.status_code == 201, taken.text


async def test_a_promoted_version_answers_from_then_on(platform: Platform) -> None:
    client = await platform.user()
    first, second = (Ridge().fit([[0.0], [1.0]], [value, value]) for value in (1.0, 2.0))
    await upload(client, as_skops(first))
    files = {"file": ("model", as_skops(second))}
    made = await client.post("/api/v1/models/model/versions", files=files)

    before = await predict(client, [[0.0]])
    moved = await client.put("/api/v1/models/model/aliases/production", json={"version": 2})
    after = await predict(client, [[0.0]])

    assert made.status_code == 201, made.text
    assert moved.status_code == 200, moved.text
    assert (before, after) == ([1.0], [2.0])

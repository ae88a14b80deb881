"""
A data scientist's first hour: a pipeline fitted on a DataFrame, and every row of the type table.

Each value either gives what scikit-learn gives for the training dtypes, or a 422 that names row
and feature.
"""

import pickle
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from tests.integration.models_api.real_platform import Platform, as_joblib, real_platform, upload

pytestmark = pytest.mark.anyio
__all__ = ["real_platform"]

ROW = {
    "age": 30.0,
    "visits": 2,
    "member": True,
    "city": "Oslo",
    "postcode": 3000,
    "since": "2026-01-02T00:00:00Z",
}


def customers() -> pd.DataFrame:
    """Categories as words and as numbers, measures with gaps, a flag and a day."""
    return pd.DataFrame(
        {
            "age": [20.0, 30.0, np.nan, 50.0, 41.0, 35.0],
            "visits": [1, 2, 3, 4, 5, 6],
            "member": [True, False, True, False, True, True],
            "city": ["Oslo", "Rome", "Oslo", "Rome", "Bern", "Bern"],
            "postcode": [3000, 4000, 3000, 5000, 4000, 3000],
            "since": pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-03"] * 2),
        }
    )


def fitted(*, by_dtype: bool) -> Pipeline:
    """The columns as lists, or as pandas selects them."""
    frame = customers()
    words: Any = ["city"]
    gaps: Any = ["age"]
    whole: Any = ["visits", "member"]
    if by_dtype:
        words = frame.select_dtypes(["object", "str"]).columns
        gaps = frame.select_dtypes("float").columns
        whole = frame.drop(columns="postcode").select_dtypes(["int", "bool"]).columns
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), gaps),
        (StandardScaler(), whole),
        (OneHotEncoder(), words),
        (OneHotEncoder(handle_unknown="ignore"), ["postcode"]),
        (OrdinalEncoder(), ["since"]),
    )
    return make_pipeline(columns, Ridge()).fit(frame, np.arange(6.0))


async def predict(client: httpx.AsyncClient, **changed: Any) -> httpx.Response:
    """Predict from two records; the second has what was changed."""
    rows = [ROW, {**ROW, **changed}]
    return await client.post("/api/v1/models/model/predict", json={"instances": rows})


def frame_of(**changed: Any) -> pd.DataFrame:
    """The second record as training saw such a row."""
    like = customers()
    row = pd.DataFrame([{**ROW, "since": pd.Timestamp("2026-01-02"), **changed}])
    return row.astype({name: like[name].dtype for name in like})


@pytest.mark.parametrize("by_dtype", [False, True], ids=["list", "select_dtypes"])
async def test_records_predict_what_the_frame_predicts(
    platform: Platform, *, by_dtype: bool
) -> None:
    client = await platform.user()
    model = fitted(by_dtype=by_dtype)
    made = await upload(client, as_joblib(model))
    frame = customers()
    records = [
        {
            name: None if pd.isna(value) else value.isoformat() + "Z" if name == "since" else value
            for name, value in reversed(row.items())
        }
        for row in frame.to_dict("records")
    ]

    answer = await client.post("/api/v1/models/model/predict", json={"instances": records})

    assert made.status_code == 201, made.text
    assert answer.status_code == 200, answer.text
    np.testing.assert_allclose(answer.json()["predictions"], model.predict(frame), atol=1e-12)


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ({"age": 41}, {"age": 41.0}),
        ({"age": None}, {"age": np.nan}),
        ({"age": True}, {"age": 1.0}),
        ({"visits": 3.0}, {"visits": 3}),
        ({"member": False}, {"member": False}),
        ({"city": "Bern"}, {"city": "Bern"}),
        ({"postcode": 4000}, {"postcode": 4000}),
        ({"postcode": 4000.0}, {"postcode": 4000}),
        ({"postcode": 9999}, {"postcode": 9999}),
        ({"since": "2026-01-03T00:00:00Z"}, {"since": pd.Timestamp("2026-01-03")}),
        ({"since": "2026-01-03T02:00:00+02:00"}, {"since": pd.Timestamp("2026-01-03")}),
    ],
)
async def test_a_value_taken_means_what_training_meant(
    platform: Platform, sent: dict[str, Any], meant: dict[str, Any]
) -> None:
    client = await platform.user()
    model = fitted(by_dtype=False)
    assert (await upload(client, as_joblib(model))).status_code == 201

    answer = await predict(client, **sent)

    assert answer.status_code == 200, answer.text
    wanted = model.predict(frame_of(**meant))
    np.testing.assert_allclose(answer.json()["predictions"][1:], wanted, atol=1e-12)


@pytest.mark.parametrize(
    "sent",
    [
        {"age": "41"},
        {"age": 2**53 + 1},
        {"visits": None},
        {"visits": "2"},
        {"city": 7},
        {"city": None},
        {"city": "Paris"},
        {"postcode": "4000"},
        {"postcode": 4000.5},
        {"since": "yesterday"},
        {"since": 1767312000},
        {"since": "2027-01-01T00:00:00Z"},
    ],
)
async def test_a_value_not_taken_is_refused_by_row_and_feature(
    platform: Platform, sent: dict[str, Any]
) -> None:
    client = await platform.user()
    assert (await upload(client, as_joblib(fitted(by_dtype=False)))).status_code == 201
    (feature,) = sent

    answer = await predict(client, **sent)

    assert answer.status_code == 422, answer.text
    (detail,) = answer.json()["details"]
    assert detail["path"] == f"/instances/1/{feature}", answer.text


async def test_columns_missing_or_unknown_are_named(platform: Platform) -> None:
    client = await platform.user()
    assert (await upload(client, as_joblib(fitted(by_dtype=False)))).status_code == 201
    lacking = {name: value for name, value in ROW.items() if name != "city"}

    missing = await client.post("/api/v1/models/model/predict", json={"instances": [lacking]})
    extra = await predict(client, colour="red")

    assert missing.status_code == extra.status_code == 422
    assert "city" in missing.text
    assert "colour" in extra.text


async def test_a_model_of_the_previous_minor_is_taken_with_a_warning_that_names_both(
    platform: Platform,
) -> None:
    client = await platform.user()
    model = fitted(by_dtype=False)
    older = f"1.{int(sklearn.__version__.split('.')[1]) - 1}.0".encode()
    content = pickle.dumps(model).replace(sklearn.__version__.encode(), older)

    made = await upload(client, content)
    answer = await predict(client)

    assert made.status_code == 201, made.text
    (warning,) = made.json()["warnings"]
    assert older.decode() in warning
    assert sklearn.__version__ in warning
    np.testing.assert_allclose(answer.json()["predictions"][1:], model.predict(frame_of()))

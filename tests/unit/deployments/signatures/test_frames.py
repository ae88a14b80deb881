"""Pipelines fitted on a DataFrame: records through our decoder answer as the frame would."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from cluster.contracts import JsonObject, Signature
from cluster.errors import InvalidInput
from deployments.engines.loaded import LoadedModel
from deployments.signatures.derive import derive_signature
from deployments.signatures.instances import decode_instances

ROWS = 60


def frame() -> pd.DataFrame:
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "city": random.choice(["Oslo", "Rome", "Lima"], ROWS),
            "plan": random.choice(["free", "paid"], ROWS),
            "age": random.normal(40, 9, ROWS),
            "visits": random.integers(0, 50, ROWS),
            "postcode": random.integers(3000, 3005, ROWS),
            "is_new": random.random(ROWS) > 0.5,
            "since": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(ROWS) % 4, unit="D"),
            "note": random.choice(["good stuff", "bad car", "late bus"], ROWS),
        }
    )
    table.loc[3, "plan"] = None
    table.loc[[4, 9], "age"] = np.nan
    table["tier"] = table["city"].astype("category")
    return table


def target() -> Any:
    return (np.random.default_rng(1).random(ROWS) > 0.5).astype(int)


def records(table: pd.DataFrame) -> list[JsonObject]:
    """The rows as a client writes them: JSON scalars, null for missing, RFC 3339 for times."""
    return [{name: _json(value) for name, value in row.items()} for row in table.to_dict("records")]


def _json(value: Any) -> Any:
    if value is None or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat() + "Z"
    return value.item() if isinstance(value, np.generic) else value


def everything() -> Any:
    return ColumnTransformer(
        [
            ("strings", OneHotEncoder(), ["city", "plan"]),
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["age", "visits"]),
            ("codes", OrdinalEncoder(), ["postcode", "is_new", "since"]),
            ("text", TfidfVectorizer(), "note"),
        ]
    )


def by_index() -> Any:
    """Columns as pandas gives them, which pickles an Index into the model."""
    table = frame().drop(columns=["since", "tier", "note"])
    words = make_pipeline(
        SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
    )
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    return make_column_transformer(
        (words, table.select_dtypes(["object", "str"]).columns),
        (numbers, table.select_dtypes("number").columns),
        remainder="passthrough",
    )


def by_selector() -> Any:
    return make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="str")),
        (SimpleImputer(), make_column_selector(dtype_include="number")),
        remainder="drop",
    )


def by_mask() -> Any:
    mask = [name in {"age", "visits"} for name in frame().columns]
    return ColumnTransformer(
        [
            ("n", SimpleImputer(add_indicator=True), mask),
            ("c", OneHotEncoder(), slice("city", "plan")),
        ]
    )


def boosted() -> Any:
    return HistGradientBoostingClassifier(max_iter=5)


CASES: list[tuple[Callable[[], Any], list[str]]] = [
    (lambda: make_pipeline(everything(), LogisticRegression(max_iter=5000)), list(frame().columns)),
    (
        lambda: make_pipeline(by_index(), LogisticRegression(max_iter=5000)),
        ["city", "plan", "age", "visits", "postcode", "is_new"],
    ),
    (
        lambda: make_pipeline(by_selector(), LogisticRegression(max_iter=5000)),
        list(frame().columns),
    ),
    (lambda: make_pipeline(by_mask(), LogisticRegression(max_iter=5000)), list(frame().columns)),
    (
        lambda: HistGradientBoostingClassifier(max_iter=5, categorical_features="from_dtype"),
        ["tier", "age", "visits"],
    ),
    (lambda: make_pipeline(StandardScaler(), boosted()), ["age", "visits"]),
]


def served(model: Any, names: list[str]) -> tuple[Any, Signature, LoadedModel]:
    table = frame()[names]
    fitted = model.fit(table, target())
    signature = derive_signature(fitted)
    return fitted, signature, LoadedModel.build(fitted, signature)


@pytest.mark.parametrize(("make", "names"), CASES)
def test_records_answer_as_the_training_frame_does(
    make: Callable[[], Any], names: list[str]
) -> None:
    fitted, signature, model = served(make(), names)

    batch = decode_instances(signature, records(frame()[names]), max_rows=1000)

    for method in signature.methods:
        expected = getattr(fitted, method)(frame()[names])
        values, _ = model.run(method, batch)
        np.testing.assert_array_equal(values, expected)


def test_types_are_those_of_the_training_frame() -> None:
    _, signature, _ = served(
        make_pipeline(everything(), LogisticRegression(max_iter=5000)), CASES[0][1]
    )

    assert signature.container == "frame"
    assert {feature.name: feature.type for feature in signature.features} == {
        "city": "string",
        "plan": "string",
        "age": "number",
        "visits": "number",
        "postcode": "integer",
        "is_new": "boolean",
        "since": "datetime",
        "note": "string",
        "tier": "unknown",  # no part reads it
    }


def test_null_is_taken_where_it_was_seen_or_imputed() -> None:
    _, signature, _ = served(
        make_pipeline(everything(), LogisticRegression(max_iter=5000)), CASES[0][1]
    )

    nullable = {feature.name for feature in signature.features if feature.nullable}

    assert nullable == {"plan", "age", "visits", "tier"}


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("city", "Paris", "Lima"),
        ("postcode", 9999, "3000"),
        ("since", "1999-01-01T00:00:00Z", "2024-01-01T00:00:00"),
    ],
)
def test_an_unknown_category_names_the_known_ones(name: str, value: object, shown: str) -> None:
    _, signature, _ = served(
        make_pipeline(everything(), LogisticRegression(max_iter=5000)), CASES[0][1]
    )
    row = records(frame())[0] | {name: value}

    with pytest.raises(InvalidInput) as refused:
        decode_instances(signature, [row], max_rows=10)

    assert shown in str(refused.value.details)


def test_a_numeric_frame_becomes_a_matrix_since_that_answers_the_same() -> None:
    _, signature, _ = served(make_pipeline(StandardScaler(), boosted()), ["age", "visits"])

    assert signature.container == "matrix"
    assert [feature.name for feature in signature.features] == ["age", "visits"]
    assert {feature.dtype for feature in signature.features} == {"float64"}


def test_an_integer_category_may_be_null_where_training_had_gaps() -> None:
    table = pd.DataFrame({"code": [1.0, 2.0, np.nan, 1.0]})
    fitted = OneHotEncoder().fit(table)
    signature = derive_signature(fitted)

    batch = decode_instances(signature, [{"code": 1}, {"code": None}], max_rows=10)
    values, _ = LoadedModel.build(fitted, signature).run("transform", batch)

    assert values.tolist() == fitted.transform(table.iloc[[0, 2]]).toarray().tolist()

"""What a caller sends as JSON is what the estimator was trained on: equal answers, or a 422."""

from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from cluster.errors import InvalidInput
from deployments.engines.inputs import estimator_input
from deployments.signatures.answers import to_json
from deployments.signatures.derive import derive_signature
from deployments.signatures.instances import decode_instances
from deployments.signatures.storage import signature_from_json, signature_to_json

ROWS = 60


def people() -> pd.DataFrame:
    random = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "age": random.normal(40, 9, ROWS),
            "city": random.choice(["Bern", "Basel", "Chur"], ROWS),
            "year": random.choice([2000, 3000], ROWS),
            "income": random.lognormal(10, 1, ROWS),
        }
    )
    frame.loc[::7, "age"] = np.nan
    return frame


def labels() -> Any:
    return np.random.default_rng(1).integers(0, 2, ROWS)


def mixed() -> Pipeline:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer(
        [
            ("numbers", numbers, ["age", "income"]),
            ("categories", OneHotEncoder(), ["city", "year"]),
        ]
    )
    return make_pipeline(columns, LogisticRegression()).fit(people(), labels())


def answer(model: Any, instances: Any, method: str) -> Any:
    """The answer the way it goes: signature stored and read, JSON decoded, estimator, JSON."""
    signature = signature_from_json(
        orjson.loads(orjson.dumps(signature_to_json(derive_signature(model))))
    )
    received = orjson.loads(orjson.dumps(instances))
    batch = decode_instances(signature, received, max_rows=1000)
    values = getattr(model, method)(estimator_input(signature, batch))
    return orjson.loads(orjson.dumps(to_json(values)[0]))


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = (
        frame.astype(object).where(frame.notna(), None).to_dict("records")
    )
    return listed


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_a_pipeline_on_a_frame_answers_records_as_it_answers_the_frame(method: str) -> None:
    model = mixed()
    expected = getattr(model, method)(people()).tolist()

    assert answer(model, records(people()), method) == expected
    columns = list(model.feature_names_in_)
    rows = [[record[name] for name in columns] for record in records(people())]
    assert answer(model, rows, method) == expected


def test_integers_and_whole_floats_are_the_same_category() -> None:
    model = mixed()
    record = records(people())[1]

    expected = answer(model, [record | {"year": 3000}], "predict_proba")
    assert answer(model, [record | {"year": 3000.0}], "predict_proba") == expected


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"city": "Genf"}, "unknown_category"),
        ({"year": 2024}, "unknown_category"),
        ({"year": 2000.5}, "not_an_integer"),
        ({"age": "40"}, "not_a_number"),
        ({"city": 3}, "not_a_string"),
        ({"city": None}, "null_refused"),
    ],
)
def test_what_would_change_the_answer_is_refused_by_row_and_feature(
    changed: dict[str, Any], code: str
) -> None:
    (name,) = changed
    given = records(people())[:3]
    given[2] |= changed
    with pytest.raises(InvalidInput) as refused:
        answer(mixed(), given, "predict")

    assert [(fault["path"], fault["code"]) for fault in refused.value.details] == [
        (f"/instances/2/{name}", code)
    ]


@pytest.mark.parametrize(
    "model", [HistGradientBoostingClassifier(max_iter=5), RandomForestClassifier(5)]
)
def test_a_matrix_model_answers_rows_bit_for_bit(model: Any) -> None:
    matrix = np.random.default_rng(3).normal(size=(ROWS, 4))
    model.fit(matrix, labels())

    assert answer(model, matrix.tolist(), "predict_proba") == model.predict_proba(matrix).tolist()


def test_a_text_pipeline_answers_documents_in_each_form() -> None:
    documents = ["red apple", "green pear", "red car", "green car"] * 5
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(documents, [0, 1, 0, 1] * 5)
    expected = model.predict_proba(documents).tolist()

    assert answer(model, documents, "predict_proba") == expected
    assert answer(model, [[text] for text in documents], "predict_proba") == expected
    assert answer(model, [{"text": text} for text in documents], "predict_proba") == expected

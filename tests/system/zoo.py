"""Models a data scientist would bring, trained on the spot on real or made data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fitted model, rows to send as JSON, and what scikit-learn is given for them."""

    model: Any
    instances: list[Any]
    rows: Any


def iris() -> Case:
    """A scaled logistic regression on arrays."""
    features, target = load_iris(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(features, target)
    return Case(model=model, instances=features[::10].tolist(), rows=features[::10])


def breast_cancer_forest() -> Case:
    """A forest on 30 columns."""
    features, target = load_breast_cancer(return_X_y=True)
    model = RandomForestClassifier(50, random_state=0).fit(features, target)
    return Case(model=model, instances=features[::40].tolist(), rows=features[::40])


def diabetes_regressor() -> Case:
    """A forest regressor fitted on a DataFrame."""
    frame, target = load_diabetes(return_X_y=True, as_frame=True)
    model = RandomForestRegressor(20, random_state=0).fit(frame, target)
    rows = frame.iloc[::30]
    return Case(model=model, instances=rows.to_dict("records"), rows=rows)


def people(count: int = 300) -> pd.DataFrame:
    """A made table of people with strings, numbers, booleans and gaps."""
    random = np.random.default_rng(7)
    frame = pd.DataFrame(
        {
            "age": random.integers(18, 90, count).astype(float),
            "income": random.lognormal(10, 1, count),
            "city": random.choice(["Oslo", "Bergen", "Tromsø"], count),
            "plan": random.choice(["free", "pro"], count),
            "visits": random.integers(0, 50, count),
        }
    )
    frame.loc[::9, "income"] = np.nan
    return frame


def mixed_boosting() -> Case:
    """A ColumnTransformer with string columns before histogram boosting."""
    frame = people()
    target = (frame["age"] > 50) ^ (frame["plan"] == "pro")
    columns = ColumnTransformer(
        [
            ("words", OrdinalEncoder(), ["city", "plan"]),
            ("numbers", "passthrough", ["age", "income", "visits"]),
        ]
    )
    model = make_pipeline(columns, HistGradientBoostingClassifier(max_iter=20)).fit(frame, target)
    return _records(model, frame)


def selected_columns() -> Case:
    """Columns chosen by dtype, imputed and encoded, before a ridge."""
    frame = people()
    columns = make_column_transformer(
        (
            make_pipeline(SimpleImputer(), StandardScaler()),
            frame.select_dtypes("number").columns,
        ),
        (OneHotEncoder(), frame.select_dtypes(["object", "str"]).columns),
    )
    model = make_pipeline(columns, Ridge()).fit(frame, frame["visits"] * 2.0)
    return _records(model, frame)


def text() -> Case:
    """A bag of words on made documents."""
    random = np.random.default_rng(3)
    topics = {
        "space": ["orbit", "rocket", "moon", "launch"],
        "sport": ["goal", "match", "team", "score"],
    }
    documents, labels = [], []
    for label, words in topics.items():
        for _ in range(60):
            documents.append(" ".join(random.choice(words, 6)))
            labels.append(label)
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(documents, labels)
    return Case(model=model, instances=documents[::20], rows=documents[::20])


def _records(model: Any, frame: pd.DataFrame) -> Case:
    rows = frame.iloc[::25]
    records = [
        {name: None if pd.isna(value) else value for name, value in row.items()}
        for row in rows.to_dict("records")
    ]
    return Case(model=model, instances=records, rows=rows)


CASES: dict[str, Callable[[], Case]] = {
    "iris": iris,
    "breast-cancer-forest": breast_cancer_forest,
    "diabetes-regressor": diabetes_regressor,
    "mixed-boosting": mixed_boosting,
    "selected-columns": selected_columns,
    "text": text,
}

"""
Variants fitted on pandas DataFrames: column names, selections, categories, dates, missing values.

A ``ColumnTransformer`` keeps what it was given as columns, so ``X.select_dtypes(…).columns`` puts
a pandas Index into the pickle.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    LabelEncoder,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)

from deployments.intake.derivation.specimen import ROWS, Specimen, data, fitted

NUMBERS = ["age", "income"]
STRINGS = ["city", "plan"]


def frame() -> pd.DataFrame:
    """Sixty made-up customers: floats with holes, ints, strings, categories, bools, dates."""
    d = data()
    rows = np.arange(ROWS)
    income = np.where(rows % 8 == 0, np.nan, np.abs(d.x[:, 1]) * 1000)
    table = {
        "age": rows % 50 + 18,
        "income": income,
        "city": np.array(["Ulm", "Bonn", "Kiel"])[rows % 3],
        "plan": pd.Categorical(np.array(["basic", "pro"])[rows % 2]),
        "active": rows % 4 == 0,
        "since": pd.date_range("2020-01-01", periods=ROWS, freq="D"),
    }
    return pd.DataFrame(table)


def _columns(x: pd.DataFrame) -> dict[str, tuple[Any, Any]]:
    return {
        "lists": (NUMBERS, STRINGS),
        "index": (
            x[NUMBERS + STRINGS].select_dtypes("number").columns,
            x[NUMBERS + STRINGS].select_dtypes(exclude="number").columns,
        ),
        "object-index": (pd.Index(NUMBERS, dtype=object), pd.Index(STRINGS, dtype=object)),
        "arrays": (np.array(NUMBERS), np.array(STRINGS, dtype=object)),
        "values": (x[NUMBERS].columns.to_numpy(), x[STRINGS].columns.tolist()),
        "slices": (slice("age", "income"), slice("city", "plan")),
        "positions": ([0, 1], pd.RangeIndex(2, 4)),
        "integer-index": (pd.Index([0, 1]), [2, 3]),
        "selectors": (
            make_column_selector(dtype_include=np.number),
            make_column_selector(dtype_exclude=[np.number, "datetime"], pattern="city|plan"),
        ),
    }


def frames() -> Iterator[Specimen]:
    """Column transformers with columns given in each usual way."""
    d, x = data(), frame()
    for note, (numbers, strings) in _columns(x).items():
        steps = [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            ("strings", OneHotEncoder(handle_unknown="ignore"), strings),
        ]
        parts = ColumnTransformer(steps)
        model = Pipeline([("prepare", parts), ("model", LogisticRegression())])
        yield fitted(model, x[NUMBERS + STRINGS], d.labels, note=f"frame-{note}")
    remainder = ColumnTransformer(
        [("strings", OrdinalEncoder(), STRINGS)],
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    some = x[["age", *STRINGS, "active"]]
    yield fitted(make_pipeline(remainder, RandomForestClassifier(5)), some, d.labels, note="pandas")
    hist = HistGradientBoostingClassifier(max_iter=4, categorical_features="from_dtype")
    yield fitted(hist, x[["age", "income", "plan"]], d.labels, note="from-dtype")
    named = HistGradientBoostingClassifier(max_iter=4, categorical_features=["plan"])
    yield fitted(named, x[["age", "plan"]], d.binary, note="named")
    yield from _others(x)


def _others(x: pd.DataFrame) -> Iterator[Specimen]:
    d = data()
    yield fitted(LinearRegression(), x[["age"]], pd.Series(d.numbers, name="price"), note="series")
    yield fitted(LogisticRegression(), x[["age", "active"]], pd.Series(d.labels), note="series")
    labels = pd.Series(d.labels, dtype="category")
    yield fitted(LogisticRegression(), x[["age", "active"]], labels, note="categories")
    yield fitted(RandomForestClassifier(3), x[["age"]], pd.Series(d.labels, dtype=object), note="o")
    yield fitted(LabelEncoder(), pd.Series(d.labels), note="series")
    yield fitted(OneHotEncoder(), x[["city", "plan", "active"]], note="frame")
    yield fitted(OneHotEncoder(), x[["since"]], note="dates")
    yield fitted(OrdinalEncoder(), x[["since", "city"]], note="dates")
    holed = x[["city", "plan"]].astype(object)
    holed.loc[::7, "plan"] = None
    holed.loc[::9, "city"] = np.nan
    yield fitted(OneHotEncoder(), holed, note="holes")
    strings = x[["city"]].astype("string")
    strings.loc[::7, "city"] = pd.NA
    yield fitted(SimpleImputer(missing_values=pd.NA, strategy="most_frequent"), strings, note="na")
    constant = SimpleImputer(strategy="constant", fill_value="none")
    yield fitted(constant, holed, note="frame")
    yield fitted(TargetEncoder(), x[STRINGS], d.numbers, note="frame")
    nullable = x[["age"]].astype("Int64")
    nullable.loc[::5, "age"] = pd.NA
    filled = make_pipeline(SimpleImputer(), LinearRegression())
    yield fitted(filled, nullable, d.numbers, note="nullable")
    given = OneHotEncoder(categories=[x["plan"].cat.categories], handle_unknown="ignore")
    yield fitted(given, x[["plan"]], note="given-index")
    functions = make_column_transformer((FunctionTransformer(np.log1p), NUMBERS))
    yield fitted(functions, x[NUMBERS].fillna(0), note="functions")
    best = make_pipeline(SelectKBest(k=1), LogisticRegression())
    yield fitted(best, x[["age", "active"]], d.labels, note="best")
    scaled = StandardScaler().set_output(transform="pandas")
    yield fitted(scaled, x[NUMBERS], note="pandas")

"""
Fits and saves models under whatever scikit-learn runs this: ``python maker.py DIRECTORY``.

Runs in an environment of its own, so it imports nothing of this project.  Each model becomes
``<name>.pkl`` and ``<name>.npz``: its rows and what each method answered to them.  The last line
printed is one JSON object of the versions that were at work.
"""

import io
import json
import pickle
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import scipy
import sklearn
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    StackingRegressor,
    VotingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import all_estimators

METHODS = ("predict", "predict_proba", "decision_function", "transform", "score_samples")
KINDS = ("classifier", "regressor", "transformer", "cluster")


def models(x: Any, y: Any, frame: Any, texts: list[str]) -> Iterator[tuple[str, Any, Any]]:
    """(name, fitted model, rows) of each estimator that fits with its defaults, and more."""
    for name, kind in all_estimators(type_filter=list(KINDS)):
        try:
            model = kind(random_state=0) if "random_state" in kind().get_params() else kind()
            yield name, model.fit(x, y), x
        except Exception:  # noqa: BLE001 - this one wants other data or arguments
            continue
    named: list[tuple[str, Any]] = [
        ("forest", RandomForestClassifier(20, random_state=0)),
        ("boosting", GradientBoostingClassifier(n_estimators=10, random_state=0)),
        ("histogram-boosting", HistGradientBoostingClassifier(max_iter=10, min_samples_leaf=5)),
        ("linear-kernel-svc", SVC(kernel="linear", random_state=0)),
        ("scaled-logistic", make_pipeline(StandardScaler(), LogisticRegression())),
        ("vote", VotingClassifier([("a", GaussianNB()), ("b", LogisticRegression())])),
        ("stack", StackingRegressor([("a", Ridge()), ("b", DecisionTreeRegressor())])),
        ("one-vs-rest", OneVsRestClassifier(LogisticRegression())),
        ("search", GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [2, 3]})),
    ]
    for name, model in named:
        yield name, model.fit(x, y), x
    for name, model in _framed():
        yield name, model.fit(frame, y), frame
    yield "text", make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, y), texts


def _framed() -> Iterator[tuple[str, Any]]:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    words = OneHotEncoder(handle_unknown="ignore")
    columns = make_column_transformer((numbers, ["size", "age"]), (words, ["city"]))
    yield "frame-ridge", make_pipeline(columns, Ridge())
    ordinal = make_column_transformer((OrdinalEncoder(), ["city"]), remainder="passthrough")
    yield "frame-histogram-boosting", make_pipeline(ordinal, HistGradientBoostingRegressor())


def answers(model: Any, rows: Any) -> dict[str, Any]:
    """method -> array of what ``model`` answers to ``rows``; texts as unicode."""
    found = {}
    for method in METHODS:
        call = getattr(model, method, None)
        if call is None:
            continue
        try:
            values = call(rows)
        except Exception:  # noqa: BLE001 - some methods refuse by configuration
            continue
        values = np.asarray(values.toarray() if hasattr(values, "toarray") else values)
        found[method] = values.astype(str) if values.dtype == object else values
    return found


def _save(directory: Path, name: str, model: Any, rows: Any) -> None:
    content = pickle.dumps(model, 4)
    packed = io.BytesIO()
    joblib.dump(model, packed, compress=3)
    (directory / f"{name}.pkl").write_bytes(content)
    (directory / f"{name}.joblib").write_bytes(packed.getvalue())
    # Asked after a reload: a model that still shares its training array with ``rows`` multiplies
    # it with itself, for which BLAS has another routine with other last bits.
    reloaded = pickle.loads(content)
    np.savez(directory / f"{name}.npz", **answers(reloaded, rows))


def data() -> tuple[Any, Any, Any, list[str]]:
    """Positive numbers (60, 4), their classes, a DataFrame and documents; the same each time."""
    draw = np.random.default_rng(0)
    x = np.abs(draw.normal(size=(60, 4))) + 0.1
    y = (x[:, 0] + x[:, 1] > 2 * np.median(x)).astype(int)
    frame = pd.DataFrame({"size": x[:, 0], "age": x[:, 1], "city": ["Oslo", "Rome"] * 30})
    texts = [f"{'good' if label else 'bad'} word{number % 7}" for number, label in enumerate(y)]
    return x, y, frame, texts


def rows_of(name: str) -> Any:
    """What the model ``name`` is asked."""
    x, _, frame, texts = data()
    return texts if name == "text" else frame if name.startswith("frame-") else x


def main() -> None:
    """Save all models into the directory that the command line names."""
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    x, y, frame, texts = data()
    warnings.simplefilter("ignore")
    names = []
    for name, model, rows in models(x, y, frame, texts):
        try:
            _save(directory, name, model, rows)
        except (pickle.PicklingError, AttributeError, TypeError):
            continue  # holds a lambda or the like
        names.append(name)
    versions = {"sklearn": sklearn, "numpy": np, "scipy": scipy, "pandas": pd, "joblib": joblib}
    print(json.dumps({"names": names, **{k: v.__version__ for k, v in versions.items()}}))


if __name__ == "__main__":
    main()

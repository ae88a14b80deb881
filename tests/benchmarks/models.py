"""The two models that every server in the comparison serves, and the row they are asked."""

from pathlib import Path
from typing import Any

import httpx
import joblib
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

IRIS, FOREST = "iris", "forest"
NAMES = (IRIS, FOREST)


def fitted(name: str) -> Any:
    """The iris pipeline, or a forest of 100 trees on the breast-cancer data."""
    if name == IRIS:
        rows, target = load_iris(return_X_y=True)
        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(rows, target)
    rows, target = load_breast_cancer(return_X_y=True)
    return RandomForestClassifier(100, random_state=0).fit(rows, target)


def row(name: str) -> list[float]:
    """The first row of the data that the model was fitted on."""
    load = load_iris if name == IRIS else load_breast_cancer
    return [float(value) for value in load(return_X_y=True)[0][0]]


def save(directory: Path) -> None:
    """Write both models as ``<name>.joblib``."""
    for name in NAMES:
        joblib.dump(fitted(name), directory / f"{name}.joblib")


def expect_answer(response: httpx.Response, member: str) -> None:
    """Return if the answer has one prediction; raises otherwise: nobody is to measure errors."""
    response.raise_for_status()
    if len(response.json()[member]) != 1:
        raise RuntimeError(f"not one prediction: {response.text[:500]}")

"""What a file must be as a whole, and the sentence for each thing that it is not."""

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.cluster import DBSCAN
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cluster.errors import UploadRefused
from deployments.intake.reader import read_model, read_model_with_notes

X = np.random.default_rng(0).normal(size=(30, 2))
Y = X[:, 0] > 0


def search(**options: Any) -> GridSearchCV:
    """A fitted search over two models."""
    return GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=3, **options).fit(X, Y)


@pytest.mark.parametrize(
    ("root", "reason", "advice"),
    [
        ({"model": LogisticRegression().fit(X, Y)}, "root", "one Pipeline"),
        ((StandardScaler(), LogisticRegression()), "root", "one Pipeline"),
        ([LogisticRegression()], "root", "save the estimator itself"),
        ("a text", "root", "fitted estimator"),
        (np.zeros(3), "root", "fitted estimator"),
        (None, "root", "fitted estimator"),
        (LogisticRegression(), "unfitted", "call fit"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "unfitted", "call fit"),
        (DBSCAN().fit(X), "no_method", "nothing to serve"),
        (search(refit=False), "root", "refit=True"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_cannot_be_served_is_refused_with_its_own_advice(
    root: Any, reason: str, advice: str
) -> None:
    with pytest.raises(UploadRefused, match=advice) as refused:
        read_model(pickle.dumps(root), "pickle")

    assert refused.value.context["reason"] == reason


def test_search_comes_back_as_its_best_estimator() -> None:
    reading = read_model_with_notes(pickle.dumps(search()), "pickle")

    assert isinstance(reading.estimator, LogisticRegression)
    assert reading.notes == ("the search is served as its best_estimator_",)


def test_quietened_parameters_are_named() -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression(verbose=0)).fit(X, Y)
    model.memory, model.verbose = "/tmp", True

    reading = read_model_with_notes(pickle.dumps(model), "pickle")

    assert reading.notes == ("served with the quiet values of memory, verbose",)

"""Corpus of the intake, cases 84 to 88: decision trees that would not end or leave their memory."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    StandardScaler,
)
from sklearn.tree import DecisionTreeClassifier
from sklearn.tree._tree import Tree

from cluster.errors import UploadRefused
from deployments.intake.reader import read_model
from tests.unit.deployments.intake.bent_models import NEVER_FITS, X, Y, _joblib, assert_refused


class BentTree:
    """Pickles as a Tree whose state was changed; skops asks it the same questions."""

    def __init__(self, tree: Any, change: Callable[[dict[str, Any]], None]) -> None:
        self._reduced = tree.__reduce__()
        change(self._reduced[2])

    def __reduce__(self) -> Any:
        return self._reduced


def _bent_tree(change: Callable[[dict[str, Any]], None]) -> tuple[Any, Any]:
    model = DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, Y)
    return model, BentTree(model.tree_, change)


def _node(field: str, value: int, row: int = 0) -> Callable[[dict[str, Any]], None]:
    def change(state: dict[str, Any]) -> None:
        state["nodes"][field][row] = value

    return change


def _entry(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(state: dict[str, Any]) -> None:
        state[key] = value(state) if callable(value) else value

    return change


TREES = [
    pytest.param(_node("left_child", 0), id="84 self-loop"),
    pytest.param(_node("right_child", 1), id="84 two parents"),
    pytest.param(_node("left_child", NEVER_FITS), id="85 child"),
    pytest.param(_node("left_child", -7), id="85 negative child"),
    pytest.param(_node("feature", NEVER_FITS), id="86 feature"),
    pytest.param(_node("feature", -1), id="86 negative feature"),
    pytest.param(_entry("values", lambda s: s["values"][:, :, :1]), id="87 value shape"),
    pytest.param(_entry("values", lambda s: s["values"][:-1]), id="87 too few values"),
    pytest.param(_entry("values", lambda s: s["values"].astype("f4")), id="87 value type"),
    pytest.param(_entry("node_count", 10**6), id="node_count"),
    pytest.param(_entry("max_depth", 10**9), id="max_depth"),
    pytest.param(_entry("nodes", lambda s: s["nodes"].tobytes()), id="nodes are bytes"),
]


@pytest.mark.parametrize("change", TREES)
def test_84_to_87_bent_trees_are_refused(change: Callable[[dict[str, Any]], None]) -> None:
    model, bent = _bent_tree(change)
    model.tree_ = bent
    reasons = ("tree", "array")

    for content in (_as_tree(pickle.dumps(model, 4)), _as_tree(_joblib(model))):
        with pytest.raises(UploadRefused) as refused:
            read_model(content, "joblib" if b"NumpyArrayWrapper" in content else "pickle")
        assert refused.value.context["reason"] in reasons, refused.value.message


@pytest.mark.parametrize("change", TREES[:9])
def test_84_to_87_bent_trees_in_skops_are_refused(
    change: Callable[[dict[str, Any]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, bent = _bent_tree(change)
    from skops.io import _sklearn

    reduced = bent.__reduce__()
    monkeypatch.setattr(_sklearn, "reduce_get_state", _reduced_state(reduced))
    content = skops.io.dumps(model)

    with pytest.raises(UploadRefused) as refused:
        read_model(content, "skops")
    assert refused.value.context["reason"] in {"tree", "array"}


def _reduced_state(reduced: Any) -> Any:
    from skops.io._utils import get_state

    def state_of(obj: Any, save_context: Any) -> dict[str, Any]:
        return {
            "__class__": "Tree",
            "__module__": "sklearn.tree._tree",
            "__reduce__": {"args": get_state(reduced[1], save_context)},
            "content": get_state(reduced[2], save_context),
        }

    return state_of


def _as_tree(content: bytes) -> bytes:
    """The file names Tree itself: ``BentTree`` only lends its ``__reduce__``."""
    assert b"BentTree" not in content
    return content


def test_honest_tree_is_accepted_and_equal() -> None:
    model, same = _bent_tree(lambda _: None)
    model.tree_ = same

    loaded: Any = read_model(pickle.dumps(model, 4), "pickle")

    assert type(loaded.tree_) is Tree
    assert loaded.predict_proba(X).tobytes() == (
        DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, Y).predict_proba(X).tobytes()
    )


def test_86_tree_for_more_features_than_its_estimator_is_refused() -> None:
    wide = DecisionTreeClassifier(random_state=0).fit(np.hstack([X * 0, X]), Y)
    narrow = DecisionTreeClassifier(random_state=0).fit(X, Y)
    narrow.tree_ = wide.tree_

    assert_refused(narrow, "tree")


def test_86_forest_with_a_tree_for_more_features_is_refused() -> None:
    forest = RandomForestClassifier(3, random_state=0).fit(X, Y)
    forest.estimators_[1] = DecisionTreeClassifier().fit(np.hstack([X * 0, X]), Y)

    assert_refused(forest, "tree")


def test_isolation_forest_with_too_few_columns_is_refused() -> None:
    forest = IsolationForest(n_estimators=3, random_state=0).fit(X)
    forest.estimators_features_[0] = np.array([0])

    assert_refused(forest, "tree")


def _boosted() -> Any:
    return GradientBoostingClassifier(n_estimators=3, random_state=0).fit(X, Y)


def test_boosting_with_more_columns_than_start_values_is_refused() -> None:
    model = _boosted()
    model.estimators_ = np.hstack([model.estimators_] * 3)
    assert_refused(model, "tree")

    model.n_trees_per_iteration_ = 3
    assert_refused(model, "tree")


def test_boosting_with_a_foreign_member_is_refused() -> None:
    model = _boosted()
    model.estimators_[0, 0] = LogisticRegression().fit(X, Y)

    assert_refused(model, "tree")


def _hist(field: str, value: int, row: int = 0) -> Any:
    categories = np.column_stack([np.arange(60) % 3, X])
    model = HistGradientBoostingClassifier(
        max_iter=2, min_samples_leaf=2, categorical_features=[0], random_state=0
    ).fit(categories, np.arange(60) % 3 == 1)
    model._predictors[0][0].nodes[field][row] = value
    return model


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("left", NEVER_FITS),
        ("right", 0),
        ("feature_idx", NEVER_FITS),
        ("feature_idx", -1),
        ("bitset_idx", NEVER_FITS),
    ],
)
def test_88_bent_histogram_trees_are_refused(field: str, value: int) -> None:
    assert_refused(_hist(field, value), "native")


def test_88_category_split_on_a_plain_feature_is_refused() -> None:
    model = _hist("is_categorical", 1)
    model._predictors[0][0].nodes["feature_idx"][0] = 2

    assert_refused(model, "native")


def test_88_preprocessor_that_loses_columns_is_refused() -> None:
    model = _hist("left", 1)
    model._preprocessor = make_pipeline(StandardScaler())

    assert_refused(model, "native", "tree")

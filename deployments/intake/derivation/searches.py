"""Searches, splitters, scorers, threshold tuning and metadata requests."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import sklearn
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - makes Halving* exist
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, Ridge
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    get_scorer,
    get_scorer_names,
    make_scorer,
    mean_absolute_error,
    mean_squared_error,
    roc_auc_score,
)
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    KFold,
    LeaveOneOut,
    RandomizedSearchCV,
    RepeatedKFold,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    StratifiedKFold,
    StratifiedShuffleSplit,
    TimeSeriesSplit,
    TunedThresholdClassifierCV,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deployments.intake.derivation.specimen import Specimen, data, fitted, quiet

_GRID = {"C": [0.1, 1.0]}
_SPLITTERS: tuple[Any, ...] = (
    KFold(3),
    StratifiedKFold(3, shuffle=True, random_state=0),
    RepeatedKFold(n_splits=3, n_repeats=1),
    RepeatedStratifiedKFold(n_splits=3, n_repeats=1),
    ShuffleSplit(2, random_state=0),
    StratifiedShuffleSplit(2, random_state=0),
)


def searches() -> Iterator[Specimen]:
    """Fitted searches with each splitter and kind of scorer."""
    d = data()
    for splitter in _SPLITTERS:
        name = type(splitter).__name__
        search = GridSearchCV(LogisticRegression(), _GRID, cv=splitter)
        yield fitted(search, d.x, d.labels, note=name)
    scorers: dict[str, Any] = {
        "string": "accuracy",
        "make": make_scorer(f1_score, pos_label="yes"),
        "auc": make_scorer(roc_auc_score, response_method="predict_proba"),
        "balanced": make_scorer(balanced_accuracy_score),
        "registered": get_scorer("neg_log_loss"),
    }
    for note, scorer in scorers.items():
        search = GridSearchCV(LogisticRegression(), _GRID, cv=3, scoring=scorer)
        yield fitted(search, d.x, d.labels, note=note)
    several = {"a": make_scorer(accuracy_score), "b": "f1_macro"}
    search = GridSearchCV(LogisticRegression(), _GRID, cv=3, scoring=several, refit="a")
    yield fitted(search, d.x, d.labels, note="several")
    errors = make_scorer(mean_absolute_error, greater_is_better=False)
    yield fitted(GridSearchCV(Ridge(), {"alpha": [1, 2]}, scoring=errors), d.x, d.numbers)
    squared = make_scorer(mean_squared_error, greater_is_better=False)
    series = GridSearchCV(Ridge(), {"alpha": [1, 2]}, cv=TimeSeriesSplit(3), scoring=squared)
    yield fitted(series, d.x, d.numbers, note="series")
    grid = {"logisticregression__C": [0.1, 1.0]}
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    yield fitted(GridSearchCV(pipeline, grid, cv=3), d.x, d.labels, note="pipeline")
    lists = RandomizedSearchCV(LogisticRegression(), {"C": [0.1, 1, 2]}, n_iter=2, random_state=0)
    yield fitted(lists, d.x, d.binary, note="lists")
    space = RandomizedSearchCV(
        LogisticRegression(), {"C": np.logspace(-2, 2, 5)}, n_iter=2, random_state=0
    )
    yield fitted(space, d.x, d.binary, note="space")
    yield fitted(HalvingGridSearchCV(LogisticRegression(), _GRID, cv=3), d.x, d.binary)


def scorers() -> Iterator[Specimen]:
    """A search that carries every scorer there is a name for (unfitted: fitting needs no more)."""
    every = {name: get_scorer(name) for name in get_scorer_names()}
    search = GridSearchCV(LogisticRegression(), _GRID, scoring=every, refit="accuracy")
    yield Specimen(name="GridSearchCV[scorers]", estimator=search, inputs=None)


def thresholds() -> Iterator[Specimen]:
    """Threshold classifiers, cross-validated models with splitters, and metadata requests."""
    d = data()
    tuned = TunedThresholdClassifierCV(LogisticRegression(), cv=3, store_cv_results=True)
    yield fitted(tuned, d.x, d.binary, note="store")
    fixed = FixedThresholdClassifier(LogisticRegression(), threshold=0.3, pos_label="yes")
    yield fitted(fixed, d.x, d.labels, note="labels")
    for splitter in (KFold(3), LeaveOneOut(), GroupKFold(3)):
        model = LogisticRegressionCV(Cs=2, cv=3)
        model.fit(d.x, d.binary)
        model.set_params(cv=splitter)
        name = f"LogisticRegressionCV[{type(splitter).__name__}]"
        yield Specimen(name=name, estimator=model, inputs=d.x)
    with sklearn.config_context(enable_metadata_routing=True), quiet():
        weighted = LogisticRegression().set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        routed = make_pipeline(scaler, weighted).fit(d.x, d.labels)
    yield Specimen(name="Pipeline[metadata]", estimator=routed, inputs=d.x)

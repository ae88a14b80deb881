"""Fitted linear models to ``LinearHead``."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployments.engines.base import Estimator
from deployments.engines.compile_steps import NotCompilable
from deployments.engines.labels import plain_labels
from deployments.engines.linear import LinearHead, LinearLink


def compile_linear(estimator: Estimator) -> LinearHead | None:
    """
    The head of a linear model, ``None`` where the estimator is not one.

    Which formula a classifier uses is told by which of the library's methods it inherited.
    """
    from sklearn.base import is_regressor
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import SGDRegressor
    from sklearn.linear_model._base import LinearClassifierMixin, LinearModel

    cls = type(estimator)
    if not cls.__module__.startswith("sklearn."):
        return None
    if isinstance(estimator, (LinearModel, SGDRegressor)) and is_regressor(estimator):
        return _head(estimator, None, "none")
    scored = getattr(cls, "decision_function", None) is LinearClassifierMixin.decision_function
    # Its own decision_function only documents the inherited one.
    scored = scored or cls is LinearDiscriminantAnalysis
    plain = getattr(cls, "predict", None) is LinearClassifierMixin.predict
    if not scored or not (plain or _is_ridge(estimator)):
        return None
    return _head(estimator, np.asarray(estimator.classes_), _link(estimator))


def _is_ridge(estimator: Estimator) -> bool:
    from sklearn.linear_model import RidgeClassifier, RidgeClassifierCV

    if not isinstance(estimator, (RidgeClassifier, RidgeClassifierCV)):
        return False
    binarizer = getattr(estimator, "_label_binarizer", None)
    return not str(getattr(binarizer, "y_type_", "multilabel")).startswith("multilabel")


def _link(estimator: Estimator) -> LinearLink:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression, SGDClassifier

    classes = len(estimator.classes_)
    if isinstance(estimator, (LogisticRegression, LinearDiscriminantAnalysis)):
        return "sigmoid" if classes <= 2 else "softmax"  # noqa: PLR2004
    if isinstance(estimator, SGDClassifier) and estimator.loss == "log_loss":
        return "sigmoid" if classes <= 2 else "rest"  # noqa: PLR2004
    return "none"


def _head(estimator: Estimator, labels: NDArray[Any] | None, link: LinearLink) -> LinearHead:
    coefficients = estimator.coef_
    if not isinstance(coefficients, np.ndarray):
        raise NotCompilable("sparse coefficients have no compiled form")
    return LinearHead(
        coefficients=np.ascontiguousarray(coefficients, dtype=np.float64),
        intercept=np.asarray(estimator.intercept_, dtype=np.float64),
        labels=None if labels is None else plain_labels(labels),
        link=link,
    )

"""
Gate 3, second half: what compiled code and sparse products take on trust, checked per estimator.

Each rule is ``(classes, check)``; a check looks at attributes only and calls no method of the
estimator.  An attribute that is absent belongs to an estimator that is not fitted, and is left.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from deployments.intake.refusals import refusal
from deployments.intake.validators import (
    boosting,
    forests,
    hist_gradient,
    isotonic,
    neighbours,
    support_vectors,
    vocabularies,
)

Check = Callable[[Any], None]
RULES: tuple[tuple[tuple[type[Any], ...], Check], ...] = (
    *forests.RULES,
    *boosting.RULES,
    *hist_gradient.RULES,
    *isotonic.RULES,
    *neighbours.RULES,
    *support_vectors.RULES,
    *vocabularies.RULES,
)
#: Matrices whose second axis meets the caller's features in compiled code.
_COMPILED_AXES = ("cluster_centers_", "subcluster_centers_", "centroids_", "_fit_X")
_FEATURE_AXES = (*_COMPILED_AXES, "coef_", "support_vectors_")
_MAX_FEATURES = 1 << 26


def check_instance(instance: Any) -> None:
    """
    Apply every rule that fits ``instance``.

    Raises:
        UploadRefused: gate3; reason "tree", "native" or "regex".
    """
    if isinstance(instance, BaseEstimator):
        _check_feature_count(instance)
    for classes, check in RULES:
        if isinstance(instance, classes):
            check(instance)


def _check_feature_count(estimator: Any) -> None:
    attributes = estimator.__dict__
    features = attributes.get("n_features_in_")
    name = type(estimator).__name__
    if features is None:
        # Without it scikit-learn compares rows with nothing before they reach compiled code.
        for key in _COMPILED_AXES:
            if getattr(attributes.get(key), "ndim", 0) == 2:  # noqa: PLR2004 - a matrix
                raise _wrong(f"{name} does not say how many features it has")
        return
    is_whole = type(features) is int or isinstance(features, np.integer)
    if not is_whole or not 0 <= features < _MAX_FEATURES:
        raise _wrong(f"{name} has no whole number of features")
    names = attributes.get("feature_names_in_")
    if names is not None and (not isinstance(names, np.ndarray) or names.shape != (features,)):
        raise _wrong(f"{name} names other features than it has")
    for key in _FEATURE_AXES:
        matrix = attributes.get(key)
        if getattr(matrix, "ndim", 0) == 2 and not _fits(estimator, key, matrix, features):  # noqa: PLR2004 - a matrix
            raise _wrong(f"{name}.{key} is for another number of features than {features}")


def _fits(_estimator: Any, key: str, matrix: Any, features: int) -> bool:
    if matrix.shape[1] == features or matrix.size == 0:
        return True
    # Metric "precomputed" keeps no points, and a precomputed kernel no vectors; PLS and friends
    # keep coef_ the other way round, where numpy itself checks the product.
    return key == "coef_" and not hasattr(matrix, "indptr")


def _wrong(what: str) -> Exception:
    return refusal(
        f"gate3: {what}: the file is damaged or was altered, save the model again",
        gate="gate3",
        reason="native",
    )

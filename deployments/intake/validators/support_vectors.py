"""libsvm models: all sizes that libsvm multiplies and copies by, checked against each other."""

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.svm._base import BaseLibSVM

from deployments.intake.validators.distances import wrong_native

_CLASSIFIERS = frozenset({"c_svc", "nu_svc"})
_IMPLEMENTATIONS = _CLASSIFIERS | {"epsilon_svr", "nu_svr", "one_class"}


def check_support(model: Any) -> None:
    """n_support, vectors, coefficients, intercepts and probability arrays have matching sizes."""
    attributes = model.__dict__
    if "support_" not in attributes:
        return
    if model._impl not in _IMPLEMENTATIONS:  # noqa: SLF001 - a class attribute of scikit-learn
        raise wrong_native("a support vector model is of an unknown kind")
    counts, support = attributes.get("_n_support"), attributes["support_"]
    for part in (counts, support):
        if type(part) is not np.ndarray or part.dtype != np.int32 or part.ndim != 1:
            raise wrong_native("a support vector model counts in another type")
    is_classifier = model._impl in _CLASSIFIERS  # noqa: SLF001 - as above
    classes = len(counts) if is_classifier else 2
    total = int(counts.sum()) if is_classifier else int(counts[0])
    if counts.min() < 0 or total != len(support) or len(counts) < 2:  # noqa: PLR2004 - classes
        raise wrong_native("a support vector model counts other vectors than it has")
    if is_classifier and len(attributes.get("classes_", ())) != classes:
        raise wrong_native("a support vector model counts other classes than it has")
    _check_arrays(attributes, classes, total)
    _check_vectors(attributes, support, total)


def _check_arrays(attributes: dict[str, Any], classes: int, total: int) -> None:
    pairs = classes * (classes - 1) // 2
    coefficients: Any = attributes.get("_dual_coef_")
    shape = getattr(coefficients, "shape", None)
    if shape != (classes - 1, total):
        raise wrong_native("a support vector model has other coefficients than vectors")
    if sparse.issparse(coefficients) and len(coefficients.data) != (classes - 1) * total:
        raise wrong_native("a support vector model has other coefficients than vectors")
    intercept = attributes.get("_intercept_")
    if not _is_flat(intercept, {pairs}):
        raise wrong_native("a support vector model has other intercepts than pairs of classes")
    sizes = [getattr(attributes.get(key), "shape", None) for key in ("_probA", "_probB")]
    if sizes[0] != sizes[1] or not _is_flat(attributes.get("_probA"), {0, pairs}):
        raise wrong_native("a support vector model has other probabilities than classes")


def _is_flat(part: Any, sizes: set[int]) -> bool:
    return (
        type(part) is np.ndarray
        and part.dtype == np.float64
        and part.ndim == 1
        and part.size in sizes
    )


def _check_vectors(attributes: dict[str, Any], support: Any, total: int) -> None:
    vectors, features = attributes.get("support_vectors_"), attributes.get("n_features_in_")
    shape = getattr(vectors, "shape", (0, 0))
    fitted = attributes.get("shape_fit_")
    if type(fitted) is not tuple or len(fitted) != 2:  # noqa: PLR2004 - rows and features
        raise wrong_native("a support vector model does not say what it was fitted on")
    # libsvm reads a kernel row (precomputed, or from a function) at each support vector's place.
    if total and (int(support.min()) < 0 or int(support.max()) >= fitted[0]):
        raise wrong_native("a support vector lies outside the kernel")
    if attributes.get("kernel") == "precomputed":
        if features != fitted[1] or fitted[0] != fitted[1]:
            raise wrong_native("a precomputed kernel has another size")
        return
    if shape != (total, features) or fitted[1] != features:
        raise wrong_native("a support vector model has other vectors than it counts")


RULES = (((BaseLibSVM,), check_support),)

"""What the whole file must be: one fitted estimator with a method that can be served."""

import warnings
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.model_selection._search import BaseSearchCV
from sklearn.utils.validation import check_is_fitted

from cluster.contracts import METHODS
from deployments.intake.refusals import refusal


def _refused(sentence: str, reason: str, name: str = "") -> Exception:
    return refusal(f"gate3: {sentence}", gate="gate3", reason=reason, name=name)


def unwrap(root: Any) -> tuple[Any, bool]:
    """
    ``root``, or the best estimator of a search; and whether it was a search.

    Raises:
        UploadRefused: gate3, reason "root": a search that was not refitted.
    """
    if not isinstance(root, BaseSearchCV):
        return root, False
    best = root.__dict__.get("best_estimator_")
    if best is None:
        raise _refused(
            f"the file is a {type(root).__name__} without best_estimator_: fit it with refit=True "
            "and upload its best_estimator_",
            "root",
        )
    return best, True


def check_root(root: Any) -> None:
    """
    Refuse what cannot be served, each kind with its own advice.

    Raises:
        UploadRefused: gate3; reason "root", "unfitted" or "no_method".
    """
    if isinstance(root, (dict, list, tuple, set)):
        kind = type(root).__name__
        raise _refused(
            f"the file is a {kind}, not a model: save the estimator itself, or put preprocessing "
            "and model into one Pipeline and save that",
            "root",
            kind,
        )
    name = f"{type(root).__module__}.{type(root).__qualname__}"
    if not isinstance(root, BaseEstimator) and not any(hasattr(root, key) for key in METHODS):
        raise _refused(
            f"the file is a {name}, not a model: save the fitted estimator itself", "root", name
        )
    if isinstance(root, BaseEstimator):
        _check_fitted(root, name)
    if not any(has_method(root, method) for method in METHODS):
        raise _refused(
            f"{name} has none of {', '.join(METHODS)}, so there is nothing to serve: upload a "
            "model that can be asked about new rows",
            "no_method",
            name,
        )


def _check_fitted(root: Any, name: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check_is_fitted(root)
    except NotFittedError as error:
        raise _refused(
            f"{name} is not fitted: call fit on your training data and save it again",
            "unfitted",
            name,
        ) from error


def has_method(root: Any, method: str) -> bool:
    """True where the estimator offers ``method`` in its present settings."""
    try:
        return callable(getattr(root, method, None))
    except Exception:  # noqa: BLE001 - a property of a class of the operator's may raise anything
        return False

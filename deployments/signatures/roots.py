"""What may be the root of an upload: one fitted scikit-learn estimator that can answer rows."""

from typing import Any, NoReturn

from cluster.contracts import METHODS, Method
from cluster.errors import UploadRefused
from deployments.engines.base import Estimator
from deployments.signatures.evidence import VECTORIZERS

_MAX_DEPTH = 16
#: First steps that take dicts, pairs or images instead of rows.
_UNSERVABLE_INPUT = {
    "DictVectorizer": "one dict a row",
    "FeatureHasher": "one dict or list of tokens a row",
    "PatchExtractor": "images",
    "LabelEncoder": "targets, not rows",
    "LabelBinarizer": "targets, not rows",
    "MultiLabelBinarizer": "targets, not rows",
}


def check_root(root: object) -> Estimator:
    """
    The estimator, if it is one that can be served.

    Raises:
        UploadRefused: It is something else, of another library, or not fitted.
    """
    if isinstance(root, (dict, list, tuple, set)):
        _refuse_collection(root)
    kind = type(root)
    if isinstance(root, type) or not hasattr(root, "get_params"):
        if callable(getattr(kind, "predict", None)) and not isinstance(root, type):
            # Which libraries' estimators may come in at all is for gate 2's list of names.
            _refuse(
                "other_library",
                f"{_named(root)} is not a scikit-learn estimator; export it to ONNX and upload "
                "that",
                _named(root),
            )
        _refuse(
            "root",
            f"the file holds a {_named(root)}, not a fitted estimator; upload the estimator that "
            "fit() returned",
            _named(root),
        )
    _check_fitted(root)
    return root


def _refuse_collection(root: Any) -> NoReturn:
    items = root.items() if isinstance(root, dict) else enumerate(root)
    inside = [repr(key) for key, value in items if hasattr(value, "get_params")][:5]
    found = f" (estimators under {', '.join(inside)})" if inside else ""
    _refuse(
        "root",
        f"the file holds a {type(root).__name__}{found}; upload one fitted estimator, with what "
        "comes before it joined by sklearn.pipeline.make_pipeline",
        type(root).__name__,
    )


def _check_fitted(estimator: Estimator) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
    except NotFittedError:
        refuse_unfitted(estimator)
    except Exception as exc:  # a damaged estimator may raise anything when looked at
        raise UploadRefused(
            f"the {type(estimator).__name__} lacks parts that fitting gives it; fit and save it "
            "again",
            gate="signature",
            reason="unfitted",
            name=_named(estimator),
            library_text=f"{type(exc).__name__}: {exc}"[:500],
        ) from exc


def refuse_unfitted(estimator: object) -> NoReturn:
    """
    Refuse an estimator whose fit() has not run.

    Raises:
        UploadRefused: Always.
    """
    _refuse(
        "unfitted",
        f"the {type(estimator).__name__} is not fitted; call fit() before saving it",
        _named(estimator),
    )


def check_input_kind(estimator: Estimator) -> None:
    """
    Refuse estimators whose first step takes no rows and no documents.

    Raises:
        UploadRefused: With what to use instead.
    """
    for first in first_steps(estimator):
        name = type(first).__name__
        if name in _UNSERVABLE_INPUT:
            _refuse(
                "input_kind",
                f"{name} takes {_UNSERVABLE_INPUT[name]}, and predictions are asked for by rows; "
                "use a ColumnTransformer with OneHotEncoder in its place",
                _named(first),
            )
        if name in VECTORIZERS and first.input != "content":
            _refuse(
                "input_kind",
                f"{name}(input={first.input!r}) reads files; use input='content'",
                _named(first),
            )


def first_steps(estimator: Estimator, depth: int = _MAX_DEPTH) -> list[Estimator]:
    """The estimators that see the caller's rows as they are."""
    name = type(estimator).__name__
    if depth == 0:
        return [estimator]
    if name == "Pipeline":
        steps = [step for _, step in estimator.steps if hasattr(step, "get_params")]
        return first_steps(steps[0], depth - 1) if steps else [estimator]
    if name == "FeatureUnion":
        parts = [part for _, part in estimator.transformer_list if hasattr(part, "get_params")]
        return [first for part in parts for first in first_steps(part, depth - 1)]
    for attribute in ("best_estimator_", "regressor_"):
        inner = getattr(estimator, attribute, None)
        if hasattr(inner, "get_params"):
            return first_steps(inner, depth - 1)
    return [estimator]


def is_text_model(estimator: Estimator) -> bool:
    """Whether every first step is a text vectorizer."""
    return all(type(first).__name__ in VECTORIZERS for first in first_steps(estimator))


def available_methods(estimator: Estimator) -> tuple[Method, ...]:
    """
    The servable methods that the estimator has, in the order of ``METHODS``.

    Raises:
        UploadRefused: It has none.
    """
    found = tuple(method for method in METHODS if callable(getattr(estimator, method, None)))
    if not found:
        _refuse(
            "no_method",
            f"{type(estimator).__name__} has none of the methods that can be served "
            f"({', '.join(METHODS)})",
            _named(estimator),
        )
    return found


def _named(value: object) -> str:
    kind = value if isinstance(value, type) else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _refuse(reason: str, sentence: str, name: str) -> NoReturn:
    raise UploadRefused(sentence, gate="signature", reason=reason, name=name)

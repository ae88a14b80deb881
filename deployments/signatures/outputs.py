"""What each method answers, by calling it; class labels and library version as stored values."""

from typing import Any, Literal

import numpy as np

from cluster.contracts import Batch, OutputSpec, Signature
from cluster.errors import PlatformError, UploadRefused
from deployments.engines.base import Estimator, Values
from deployments.engines.native import call_estimator

_DATATYPES: dict[str, Literal["INT64", "FP64", "BYTES", "BOOL"]] = {
    "i": "INT64",
    "f": "FP64",
    "b": "BOOL",
    "O": "BYTES",
}


def method_outputs(estimator: Estimator, signature: Signature, row: Batch) -> dict[str, OutputSpec]:
    """
    Type and shape of each method's answer; a method that raises on an ordinary row is left out.

    Raises:
        UploadRefused: No method answers.
    """
    outputs: dict[str, OutputSpec] = {}
    said = ""
    for method in signature.methods:
        try:
            values = call_estimator(estimator, signature, method, row)
        except PlatformError as exc:
            said = str(exc.context.get("library_text", exc))
        else:
            outputs[method] = output_spec(values)
    if not outputs:
        raise UploadRefused(
            f"the {type(estimator).__name__} answers an ordinary row by none of its methods",
            gate="gate4",
            reason="canary",
            library_text=said,
        )
    return outputs


def output_spec(values: Values) -> OutputSpec:
    """V2 datatype and shape (-1 for rows) of one method's answer."""
    first = values.flat[0] if values.size else None
    if values.dtype == object and isinstance(first, list):
        # Probabilities of several outputs, each with its own number of classes.
        sizes = {len(part) for part in first}
        return OutputSpec(
            type="FP64", shape=(-1, len(first), sizes.pop() if len(sizes) == 1 else -1)
        )
    return OutputSpec(type=_DATATYPES[values.dtype.kind], shape=(-1, *values.shape[1:]))


def class_labels(estimator: Estimator) -> tuple[Any, ...] | None:
    """Labels in the order of ``predict_proba``; a tuple of tuples for several outputs."""
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        return None
    if isinstance(classes, list):
        return tuple(tuple(np.asarray(part).tolist()) for part in classes)
    return tuple(np.asarray(classes).tolist())


def library_version(estimator: Estimator) -> str:
    """The scikit-learn version the estimator was saved with; this process's where it says none."""
    import sklearn

    saved = getattr(estimator, "__dict__", {}).get("_sklearn_version")
    return saved if isinstance(saved, str) else str(sklearn.__version__)

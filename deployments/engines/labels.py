"""Class labels in the four dtypes that travel, and how compiled models store them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.contracts import JsonObject
from cluster.errors import ArtifactCorrupt

_DTYPES: dict[str, type[Any]] = {
    "int64": np.int64,
    "float64": np.float64,
    "bool": np.bool_,
    "object": np.object_,
}
_ELEMENTS: dict[str, tuple[type, ...]] = {
    "int64": (int,),
    "float64": (int, float),
    "bool": (bool,),
    "object": (str, int, float, bool, type(None)),
}


def plain_labels(values: NDArray[Any]) -> NDArray[Any]:
    """The labels as int64, float64, bool, or object where they are strings."""
    kind = values.dtype.kind
    if kind == "b":
        return values
    if kind in "iu":
        return values.astype(np.int64)
    if kind == "f":
        return values.astype(np.float64)
    return values.astype(object)


def labels_to_json(labels: NDArray[Any]) -> JsonObject:
    """One output's labels, of a dtype that ``plain_labels`` gives."""
    return {"dtype": str(labels.dtype), "values": labels.tolist()}


def labels_from_json(stored: object) -> NDArray[Any]:
    """
    Inverse of ``labels_to_json``.

    Raises:
        ArtifactCorrupt: The dtype is another, or an element is not of it.
    """
    if not isinstance(stored, dict):
        raise ArtifactCorrupt("the compiled model's labels are malformed")
    dtype, values = stored.get("dtype"), stored.get("values")
    if dtype not in _DTYPES or not isinstance(values, list) or not values:
        raise ArtifactCorrupt("the compiled model's labels are malformed")
    if not all(isinstance(value, _ELEMENTS[dtype]) for value in values):
        raise ArtifactCorrupt(f"a label of the compiled model is not {dtype}")
    try:
        return np.array(values, dtype=_DTYPES[dtype])
    except (OverflowError, ValueError) as exc:
        raise ArtifactCorrupt("a label of the compiled model is out of range") from exc

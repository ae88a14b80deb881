"""What an estimator answered, as JSON values that read back to the same numbers and labels."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FEW = 64


def to_json(values: NDArray[Any]) -> tuple[list[Any], int]:
    """
    ``values`` as a nested list, and how many numbers in it JSON cannot say.

    Args:
        values: One entry a row on the first axis; labels, floats, or objects whose elements are
            scalars or nested lists (probabilities of several outputs).

    Returns:
        The list, with None for NaN and the infinities, and their number.  Floats are Python's
        of the same value: written by orjson they read back equal.
    """
    kind = values.dtype.kind
    if kind in "iubU":
        return values.tolist(), 0
    if kind == "f":
        return _floats(values)
    cleaned = _Cleaned()
    return [cleaned.plain(value) for value in values.tolist()], cleaned.non_finite


def _floats(values: NDArray[Any]) -> tuple[list[Any], int]:
    listed: list[Any] = values.tolist()
    if values.size <= _FEW:
        # Python's sum is finite only if all are, and quicker than numpy over a few; it may
        # overflow where all are finite, hence the second look below.
        flat = listed if values.ndim == 1 else values.ravel().tolist()
        if math.isfinite(sum(flat)):
            return listed, 0
    finite = np.isfinite(values)
    if finite.all():
        return listed, 0
    shown = values.astype(object)
    shown[~finite] = None
    return shown.tolist(), int(values.size - np.count_nonzero(finite))


class _Cleaned:
    """Walks objects of an answer; counts what became null."""

    def __init__(self) -> None:
        self.non_finite = 0

    def plain(self, value: Any) -> Any:
        if isinstance(value, np.ndarray | np.generic):
            value = value.tolist()
        if isinstance(value, list | tuple):
            return [self.plain(item) for item in value]
        if isinstance(value, float) and not math.isfinite(value):
            self.non_finite += 1
            return None
        return value if isinstance(value, str | bool | int | float | None) else str(value)

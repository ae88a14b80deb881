"""Which columns a ColumnTransformer's specification means: names, positions, slices, masks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.errors import UploadRefused


def resolve_columns(spec: object, names: NDArray[np.object_] | None, width: int) -> list[int]:
    """
    Positions of the columns that ``spec`` selects, in its order.

    Args:
        spec: A name or position, a list or Index of them, a slice of either, or a boolean mask.
        names: The training frame's columns, where there was a frame.
        width: Number of columns.

    Raises:
        UploadRefused: The specification names a column that is not there.
    """
    known = {} if names is None else {str(name): index for index, name in enumerate(names)}
    try:
        if isinstance(spec, slice):
            return list(range(width))[_slice(spec, known)]
        if isinstance(spec, (str, int, np.integer)) and not isinstance(spec, bool):
            return [_position(spec, known, width)]
        items = list(spec)  # type: ignore[call-overload]  # lists, tuples, arrays, pandas Index
        if items and all(isinstance(item, (bool, np.bool_)) for item in items):
            return [int(index) for index in np.flatnonzero(np.asarray(items))]
        return [_position(item, known, width) for item in items]
    except (KeyError, IndexError, TypeError) as exc:
        raise UploadRefused(
            "the ColumnTransformer names a column that it was not fitted on; fit it again",
            gate="signature",
            reason="column_spec",
        ) from exc


def _position(item: Any, known: dict[str, int], width: int) -> int:
    if isinstance(item, str):
        return known[item]
    return range(width)[int(item)]


def _slice(spec: slice, known: dict[str, int]) -> slice:
    if not isinstance(spec.start, str) and not isinstance(spec.stop, str):
        return spec
    start = None if spec.start is None else known[spec.start]
    # A slice of names includes its end, as in pandas.
    stop = None if spec.stop is None else known[spec.stop] + 1
    return slice(start, stop, spec.step)


def feature_names(names: Sequence[object] | None, width: int) -> tuple[str, ...]:
    """The frame's column names, or x0, x1, … where there was none."""
    if names is None:
        return tuple(f"x{index}" for index in range(width))
    return tuple(str(name) for name in names)

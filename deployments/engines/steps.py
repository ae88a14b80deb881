"""
Elementwise preparation of a float64 matrix, in the order and with the roundings of scikit-learn.

A step is one operation with its arrays; scalers, imputers and selectors are short lists of them.
Nothing here imports scikit-learn: the ingress runs these.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.contracts import JsonObject
from cluster.errors import ArtifactCorrupt
from deployments.engines.base import Matrix

Arrays = tuple[NDArray[Any], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One operation of ``OPERATIONS`` and the arrays it takes after the matrix."""

    operation: str
    arrays: Arrays = ()

    def width_after(self, width: int) -> int:
        """
        Columns after the step, given those before it.

        Raises:
            ArtifactCorrupt: The arrays do not fit a matrix of that width.
        """
        rule = _WIDTHS.get(self.operation)
        after = None if rule is None else rule(width, self.arrays)
        if after is None:
            raise ArtifactCorrupt(f"step {self.operation!r} does not fit {width} columns")
        return after


def apply_steps(steps: Sequence[Step], matrix: Matrix) -> Matrix:
    """The matrix after all steps; the caller's is left as it was."""
    for step in steps:
        matrix = OPERATIONS[step.operation](matrix, *step.arrays)
    return matrix


def _clip(matrix: Matrix, low: Matrix, high: Matrix) -> Matrix:
    return np.clip(matrix, low, high)


def _fill(matrix: Matrix, values: Matrix) -> Matrix:
    return np.where(np.isnan(matrix), values, matrix)


def _pick(matrix: Matrix, indices: NDArray[np.int64]) -> Matrix:
    return np.ascontiguousarray(matrix[:, indices])


def _project(matrix: Matrix, components: Matrix, offset: Matrix, scale: Matrix) -> Matrix:
    return ((matrix @ components.T) - offset) / scale


def _encode(matrix: Matrix, starts: NDArray[np.int64], categories: Matrix) -> Matrix:
    """Position of each value among its column's sorted categories, NaN where it is none."""
    encoded = matrix.copy()
    for column in range(starts.size - 1):
        known = categories[starts[column] : starts[column + 1]]
        values = matrix[:, column]
        found = np.minimum(np.searchsorted(known, values), known.size - 1)
        encoded[:, column] = np.where(known[found] == values, found, np.nan)
    return encoded


OPERATIONS: Mapping[str, Callable[..., Matrix]] = {
    "subtract": np.subtract,
    "divide": np.divide,
    "multiply": np.multiply,
    "add": np.add,
    "clip": _clip,
    "fill": _fill,
    "pick": _pick,
    "project": _project,
    "encode": _encode,
}


def _elementwise(width: int, arrays: Arrays) -> int | None:
    fits = len(arrays) == 1 and arrays[0].shape == (width,) and arrays[0].dtype == np.float64
    return width if fits else None


def _clip_width(width: int, arrays: Arrays) -> int | None:
    shapes = [(array.shape, array.dtype.str) for array in arrays]
    return width if shapes == [((1,), "<f8")] * 2 else None


def _pick_width(width: int, arrays: Arrays) -> int | None:
    if len(arrays) != 1 or arrays[0].ndim != 1 or arrays[0].dtype != np.int64:
        return None
    inside = bool(np.all((arrays[0] >= 0) & (arrays[0] < width)))
    return int(arrays[0].size) if inside and arrays[0].size else None


def _project_width(width: int, arrays: Arrays) -> int | None:
    if len(arrays) != 3 or any(array.dtype != np.float64 for array in arrays):  # noqa: PLR2004
        return None
    components, offset, scale = arrays
    if components.ndim != 2 or components.shape[1] != width:  # noqa: PLR2004
        return None
    after = int(components.shape[0])
    return after if offset.shape == scale.shape == (after,) and after else None


def _encode_width(width: int, arrays: Arrays) -> int | None:
    if len(arrays) != 2 or any(array.ndim != 1 for array in arrays):  # noqa: PLR2004
        return None
    starts, categories = arrays
    if (
        starts.dtype != np.int64
        or categories.dtype != np.float64
        or not 1 < starts.size <= width + 1
    ):
        return None
    ordered = starts[0] == 0 and starts[-1] == categories.size and bool(np.all(np.diff(starts) > 0))
    return width if ordered else None


_WIDTHS: Mapping[str, Callable[[int, Arrays], int | None]] = {
    "subtract": _elementwise,
    "divide": _elementwise,
    "multiply": _elementwise,
    "add": _elementwise,
    "fill": _elementwise,
    "clip": _clip_width,
    "pick": _pick_width,
    "project": _project_width,
    "encode": _encode_width,
}


def steps_to_arrays(steps: Sequence[Step]) -> tuple[list[JsonObject], dict[str, NDArray[Any]]]:
    """Steps as JSON that names arrays, and those arrays."""
    described: list[JsonObject] = []
    arrays: dict[str, NDArray[Any]] = {}
    for position, step in enumerate(steps):
        names = [f"step{position}.{index}" for index in range(len(step.arrays))]
        arrays |= dict(zip(names, step.arrays, strict=True))
        described.append({"operation": step.operation, "arrays": names})
    return described, arrays


def steps_from_arrays(described: object, arrays: Mapping[str, NDArray[Any]]) -> tuple[Step, ...]:
    """
    Inverse of ``steps_to_arrays``; whether they fit each other ``Step.width_after`` tells.

    Raises:
        ArtifactCorrupt: An operation or an array is unknown.
    """
    if not isinstance(described, list):
        raise ArtifactCorrupt("the compiled model has no list of steps")
    steps = []
    for entry in described:
        try:
            operation, names = str(entry["operation"]), list(entry["arrays"])
            steps.append(Step(operation=operation, arrays=tuple(arrays[name] for name in names)))
        except (KeyError, TypeError) as exc:
            raise ArtifactCorrupt("a step of the compiled model is malformed") from exc
    return tuple(steps)

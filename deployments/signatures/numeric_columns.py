"""Columns of numbers: JSON numbers and true/false, never digit strings, never rounded."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.contracts import Bounds, Feature
from deployments.signatures.columns import Column, packed
from deployments.signatures.faults import CellRefused, quoted

#: Largest integer magnitude that a float64 holds exactly, with all below it.
EXACT_INTEGER = 2**53
#: Types that a float column takes.
NUMBERS: frozenset[type] = frozenset({float, int, bool})
_INTEGERS: frozenset[type] = frozenset({int, bool})


def are_exact(numbers: Sequence[Any]) -> bool:
    """Whether a float64 surely holds each number as it is; a false "no" costs a closer look."""
    # The sum is NaN, infinite or too large where any single one is.
    try:
        return bool(sum(map(abs, numbers)) < EXACT_INTEGER)
    except OverflowError:
        return False


class NumberColumn(Column):
    """Takes JSON numbers and true/false; never digit strings, NaN or what a float rounds."""

    def __init__(self, feature: Feature, bounds: Bounds | None, dtype: str) -> None:
        super().__init__(feature, bounds, dtype)
        self._is_float = self.dtype.kind == "f"
        self._largest = float(np.finfo(self.dtype).max) if self._is_float else math.inf

    def cell(self, value: object) -> Any:
        """A finite number, exactly as it will reach the estimator."""
        if isinstance(value, bool):
            return int(value)
        if isinstance(value, int):
            return self._integer(value)
        if not isinstance(value, float):
            raise CellRefused("not_a_number", f"takes a number, got {quoted(value)}")
        if not abs(value) <= self._largest or math.isinf(value):
            raise CellRefused("not_finite", f"takes a finite number, got {quoted(value)}")
        return value

    def _integer(self, value: int) -> int:
        # In an object column an integer stays one, as it did in training.
        bound = EXACT_INTEGER if self._is_float else 2**63 - 1
        if abs(value) > bound:
            raise CellRefused(
                "integer_too_large",
                f"takes integers up to ±{bound} exactly, got {quoted(value)}; "
                "send a rounded value as 1.5e300 is written, if rounding is meant",
            )
        return value

    def _is_clean(self, values: Sequence[object]) -> bool:
        if self.known is not None or not NUMBERS.issuperset(map(type, values)):
            return False
        return self._is_float and are_exact(values)


class IntegerColumn(Column):
    """Takes whole numbers, written 3000 or 3000.0, and true/false."""

    clean = frozenset({int})

    def __init__(self, feature: Feature, bounds: Bounds | None, dtype: str) -> None:
        super().__init__(feature, bounds, dtype)
        self._low, self._high = _integer_range(self.dtype, is_nullable=feature.nullable)

    def cell(self, value: object) -> Any:
        """A whole number within the dtype's range."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            if isinstance(value, bool):
                return int(value)
            raise CellRefused("not_a_number", f"takes a whole number, got {quoted(value)}")
        if isinstance(value, float) and not (value.is_integer() and abs(value) <= EXACT_INTEGER):
            raise CellRefused("not_an_integer", f"takes a whole number, got {quoted(value)}")
        if not self._low <= value <= self._high:
            said = f"takes whole numbers from {self._low} to {self._high}, got {quoted(value)}"
            raise CellRefused("integer_too_large", said)
        return int(value)

    def pack(self, values: Sequence[Any]) -> NDArray[Any]:
        """Integers; floats where a missing value forces it, as in pandas."""
        if self.dtype.kind in "iu" and not _INTEGERS.issuperset(map(type, values)):
            return packed(values, np.dtype(np.float64 if self.missing is not None else object))
        return packed(values, self.dtype)

    def _is_clean(self, values: Sequence[object]) -> bool:
        if not super()._is_clean(values):
            return False
        return self._low <= min(values) and max(values) <= self._high  # type: ignore[type-var,operator]


class BooleanColumn(Column):
    """Takes true/false, and 1/0 as numeric tensors write them."""

    clean = frozenset({bool})

    def cell(self, value: object) -> Any:
        """A Python bool."""
        if not isinstance(value, bool | int | float) or value not in {0, 1}:
            raise CellRefused("not_a_boolean", f"takes true or false, got {quoted(value)}")
        return bool(value)

    def pack(self, values: Sequence[Any]) -> NDArray[Any]:
        """Booleans; objects where a missing value forces it, as in pandas."""
        if self.dtype.kind == "b" and not self.clean.issuperset(map(type, values)):
            return packed(values, np.dtype(object))
        return packed(values, self.dtype)


def _integer_range(dtype: np.dtype[Any], *, is_nullable: bool) -> tuple[int, int]:
    # A null turns the whole column into floats.
    if dtype.kind == "f" or (is_nullable and dtype.kind in "iu"):
        return -EXACT_INTEGER, EXACT_INTEGER
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return int(info.min), int(info.max)
    return -(2**63), 2**63 - 1

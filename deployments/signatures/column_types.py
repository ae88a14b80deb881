"""
Columns of text, of date-times and of values whose type the estimator does not tell.

The one place that picks a feature's decoder.
"""

import math
from collections.abc import Sequence
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.contracts import Bounds, Feature
from deployments.signatures.columns import Column, numpy_dtype, packed
from deployments.signatures.datetimes import DatetimeFormat
from deployments.signatures.faults import CellRefused, Faults, quoted
from deployments.signatures.numeric_columns import (
    EXACT_INTEGER,
    BooleanColumn,
    IntegerColumn,
    NumberColumn,
)


class StringColumn(Column):
    """Takes text; numbers are refused rather than written out."""

    clean = frozenset({str})

    def cell(self, value: object) -> Any:
        """The text itself."""
        if not isinstance(value, str):
            raise CellRefused("not_a_string", f"takes a string, got {quoted(value)}")
        return value

    def pack(self, values: Sequence[Any]) -> NDArray[Any]:
        """An object array of str and missing markers."""
        return packed(values, np.dtype(object))


class DatetimeColumn(Column):
    """Takes RFC 3339 text."""

    def __init__(self, feature: Feature, bounds: Bounds | None, dtype: str) -> None:
        super().__init__(feature, bounds, dtype)
        self._format = DatetimeFormat(feature.dtype)
        self.missing = np.datetime64("NaT")
        if self.known is not None:
            # Categories are kept as text; cells are compared as the instants they name.
            self.known = frozenset(map(self._format.parse, feature.categories or ()))

    def cell(self, value: object) -> Any:
        """The instant in the column's unit."""
        return self._format.parse(value)

    def pack(self, values: Sequence[Any]) -> NDArray[Any]:
        """datetime64 in the unit the column was fitted with."""
        return np.array(values, dtype=self._format.dtype)


class UnknownColumn(Column):
    """
    Takes numbers, strings or booleans, one kind throughout a request.

    The array has the dtype that pandas would give it: nothing is known of the training frame's.
    """

    clean = frozenset({str})

    def cell(self, value: object) -> Any:
        """The value itself, if it is a scalar that a column may hold."""
        if isinstance(value, str | bool):
            return value
        if isinstance(value, int) and abs(value) <= EXACT_INTEGER:
            return value
        if isinstance(value, float) and math.isfinite(value):
            return value
        raise CellRefused("not_a_scalar", f"takes numbers or strings, got {quoted(value)}")

    def _checked(self, values: Sequence[object], faults: Faults, column: int) -> list[Any]:
        kinds = [_kind(value) for value in values]
        first = next((kind for kind in kinds if kind), "")
        before = len(faults)
        for row, kind in enumerate(kinds):
            if kind and kind != first and not faults.is_full(before):
                said = f"has {first}s in this request, got {quoted(values[row])}: send one kind"
                faults.add(row, column, "mixed_types", f"{self._named()} {said}")
        return [] if len(faults) > before else super()._checked(values, faults, column)

    def pack(self, values: Sequence[Any]) -> NDArray[Any]:
        """int64, float64, bool or object, as the values are."""
        types = set(map(type, values))
        if types <= {int}:
            return np.array(values, dtype=np.int64)
        if types <= {bool}:
            return np.array(values, dtype=np.bool_)
        if types <= {int, float}:
            return np.array(values, dtype=np.float64)
        return packed(values, np.dtype(object))


_TYPES: dict[str, type[Column]] = {
    "number": NumberColumn,
    "integer": IntegerColumn,
    "string": StringColumn,
    "boolean": BooleanColumn,
    "datetime": DatetimeColumn,
    "unknown": UnknownColumn,
}


def column_of(feature: Feature, bounds: Bounds | None = None) -> Column:
    """The decoder of a column that keeps its own dtype."""
    kind = feature.type
    if kind == "number" and numpy_dtype(feature.dtype).kind in "iu":
        # The frame held integers: a fraction could only be cut off.
        kind = "integer"
    return _TYPES[kind](feature, bounds, feature.dtype)


def matrix_column_of(feature: Feature, bounds: Bounds | None = None) -> Column:
    """The decoder of one column of a float64 matrix."""
    kind = "number" if feature.type == "unknown" else feature.type
    return _TYPES[kind](feature, bounds, "float64")


def _kind(value: object) -> str:
    if isinstance(value, NoneType):
        return ""
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "number"

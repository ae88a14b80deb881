"""
What every feature type's decoder shares: a column of JSON values becomes one array or faults.

A type says which values need no closer look, what becomes of one that does, and how they are
packed; see ``numeric_columns`` and ``column_types``.  numpy only: the ingress imports this.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.contracts import Bounds, Feature
from deployments.signatures.faults import CellRefused, Faults, quoted

_SHOWN_CATEGORIES = 20
#: ``pandas.NA`` is None here and set where the frame is built: no pandas in the ingress.
_MARKERS = {"nan": math.nan, "none": None, "nat": np.datetime64("NaT"), "na": None}


class Column:
    """Decodes the values of one feature; subclasses are the types."""

    #: Types whose values need no look one by one, categories apart.
    clean: frozenset[type] = frozenset()

    def __init__(self, feature: Feature, bounds: Bounds | None, dtype: str) -> None:
        self.feature = feature
        self.bounds = bounds
        self.dtype = numpy_dtype(dtype)
        self.missing: Any = math.nan if self.dtype.kind == "f" else _MARKERS[feature.missing]
        known = feature.categories
        self.known: frozenset[Any] | None = None if known is None else frozenset(known)

    def decode(self, values: Sequence[object], faults: Faults, column: int) -> NDArray[Any] | None:
        """The column as an array of ``len(values)``; ``None`` after adding to ``faults``."""
        before = len(faults)
        checked = values if self._is_clean(values) else self._checked(values, faults, column)
        if len(faults) > before:
            return None
        array = self.pack(checked)
        self._check_bounds(array, faults, column)
        return array if len(faults) == before else None

    def cell(self, value: object) -> Any:
        """
        What ``value``, never null, is to the estimator.

        Raises:
            CellRefused: The feature's type does not take it.
        """
        raise NotImplementedError

    def pack(self, values: Sequence[Any]) -> NDArray[Any]:
        """Checked values, shape (rows,), as the column's dtype."""
        return packed(values, self.dtype)

    def _is_clean(self, values: Sequence[object]) -> bool:
        if not self.clean.issuperset(map(type, values)):
            return False
        return self.known is None or self.known.issuperset(values)

    def _checked(self, values: Sequence[object], faults: Faults, column: int) -> list[Any]:
        before = len(faults)
        checked: list[Any] = []
        for row, value in enumerate(values):
            try:
                checked.append(self._cell_or_missing(value))
            except CellRefused as refused:
                faults.add(row, column, refused.code, f"{self._named()} {refused.message}")
                if faults.is_full(before):
                    break
        return checked

    def _cell_or_missing(self, value: object) -> Any:
        if value is None:
            if not self.feature.nullable:
                raise CellRefused("null_refused", "was fitted without missing values, got null")
            return self.missing
        taken = self.cell(value)
        if self.known is not None and taken not in self.known:
            raise CellRefused("unknown_category", self._not_among(value))
        return taken

    def _not_among(self, value: object) -> str:
        known = [item for item in self.feature.categories or () if item is not None]
        shown = ", ".join(str(item) for item in known[:_SHOWN_CATEGORIES])
        more = f" and {len(known) - _SHOWN_CATEGORIES} more" * (len(known) > _SHOWN_CATEGORIES)
        return f"knows {shown}{more}; got {quoted(value)}"

    def _check_bounds(self, array: NDArray[Any], faults: Faults, column: int) -> None:
        if self.bounds is None or array.dtype.kind not in "fiubO":
            return
        low = -math.inf if self.bounds.minimum is None else self.bounds.minimum
        high = math.inf if self.bounds.maximum is None else self.bounds.maximum
        numbers = array.astype(np.float64)
        before = len(faults)
        for row in np.flatnonzero((numbers < low) | (numbers > high)).tolist():
            said = f"must lie in {low:g} to {high:g}, got {quoted(numbers[row].item())}"
            faults.add(row, column, "out_of_bounds", f"{self._named()} {said}")
            if faults.is_full(before):
                break

    def _named(self) -> str:
        return f'feature "{self.feature.name}"'


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The numpy dtype a column is packed as; object where numpy has none."""
    # pandas' own dtypes (str, category, Int64, boolean, …) have no numpy twin.
    try:
        dtype = np.dtype(name)
    except TypeError:
        return np.dtype(object)
    return dtype if dtype.kind in "fiubM" else np.dtype(object)


def packed(values: Sequence[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """``values``, shape (rows,), one element each even where they are sequences."""
    if dtype.kind != "O":
        return np.array(values, dtype=dtype)
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array

"""
pandas' part in scikit-learn pickles: column names as an Index, string arrays, string dtypes.

All of it becomes a fresh Index or array of checked text and numbers; data frames are refused.
Text that pyarrow stored is read from its buffers here, since pyarrow is not installed.
"""

from typing import Any

import numpy as np
import pandas as pd

from deployments.intake.constructors.arrays import is_element
from deployments.intake.constructors.checks import is_count, wrong
from deployments.intake.machine import Machine
from deployments.intake.tokens import Pending

NEW_INDEX = "pandas.core.indexes.base._new_Index"
STRING_DTYPE = "pandas.StringDtype"
BACKED = "pandas._libs.arrays.__pyx_unpickle_NDArrayBacked"
_RANGE_KEYS = {"name", "start", "stop", "step"}


def string_dtype(_machine: Machine, args: tuple[Any, ...]) -> pd.StringDtype:
    """``StringDtype(storage, na_value)``; stored as python strings whatever the file says."""
    if not 1 <= len(args) <= 2 or args[0] not in {"python", "pyarrow", "pyarrow_numpy"}:  # noqa: PLR2004 - storage and marker
        raise wrong(STRING_DTYPE, "its storage is unknown", reason="array")
    marker = args[1] if len(args) > 1 else pd.NA
    if marker is not pd.NA and not (type(marker) is float and np.isnan(marker)):
        raise wrong(STRING_DTYPE, "its missing value is neither NA nor NaN", reason="array")
    return pd.StringDtype("python", na_value=marker)


def backed(_machine: Machine, args: tuple[Any, ...]) -> Pending:
    """``__pyx_unpickle_NDArrayBacked(StringArray, checksum, None)``."""
    if len(args) != 3 or args[0] is not pd.arrays.StringArray:  # noqa: PLR2004 - Cython's three
        raise wrong(BACKED, "is called for another class", reason="array")
    return Pending(BACKED, _finish_strings)


def _finish_strings(_machine: Machine, state: Any) -> Any:
    """A string array for the state (dtype, object array[, attributes])."""
    if type(state) is not tuple or len(state) not in {2, 3}:
        raise wrong(BACKED, "its state has another form", reason="array")
    first, second = state[:2]
    kind, values = (first, second) if isinstance(first, pd.StringDtype) else (second, first)
    if not isinstance(kind, pd.StringDtype) or not isinstance(values, np.ndarray):
        raise wrong(BACKED, "its state has another form", reason="array")
    if values.ndim != 1 or not all(_is_text(value) for value in values):
        raise wrong(BACKED, "it holds something but text", reason="array")
    return strings(values.tolist(), kind)


def strings(values: list[Any], kind: pd.StringDtype) -> Any:
    """A pandas string array; anything but text is its missing value."""
    clean = [value if type(value) is str else kind.na_value for value in values]
    return pd.array(clean, dtype=kind)


def _is_text(value: Any) -> bool:
    return type(value) is str or value is None or value is pd.NA or type(value) is float


def new_index(_machine: Machine, args: tuple[Any, ...]) -> Any:
    """``_new_Index(Index, {"data": …, "name": …})`` or ``RangeIndex`` with its three numbers."""
    if len(args) != 2 or type(args[1]) is not dict:  # noqa: PLR2004 - class and parts
        raise wrong(NEW_INDEX, "takes a class and its parts", reason="array")
    cls, parts = args
    name = parts.get("name")
    if name is not None and not is_element(name):
        raise wrong(NEW_INDEX, "its name is no text", reason="array")
    if cls is pd.RangeIndex and set(parts) <= _RANGE_KEYS:
        return _range_index(parts, name)
    if cls is not pd.Index or not set(parts) <= {"data", "name"}:
        raise wrong(NEW_INDEX, "is called for another class", reason="array")
    data = parts.get("data")
    if isinstance(data, pd.arrays.StringArray):
        return pd.Index(data, name=name)
    if type(data) is not np.ndarray or data.ndim != 1:
        raise wrong(NEW_INDEX, "its labels are no flat array", reason="array")
    if data.dtype == object and not all(is_element(value) for value in data):
        raise wrong(NEW_INDEX, "its labels are neither text nor numbers", reason="array")
    return pd.Index(data, dtype=data.dtype, name=name)


def _range_index(parts: dict[str, Any], name: Any) -> pd.RangeIndex:
    numbers = [parts.get(key) for key in ("start", "stop", "step")]
    if not all(type(number) is int for number in numbers) or numbers[2] == 0:
        raise wrong(NEW_INDEX, "its range is no range", reason="array")
    found = range(*[int(number) for number in numbers if number is not None])
    if not is_count(len(found), at_most=1 << 24):
        raise wrong(NEW_INDEX, "its range is too long", reason="array")
    return pd.RangeIndex(found, name=name)

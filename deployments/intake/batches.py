"""
Rows as JSON, for the canary that is kept with a version and for a replay in the sandbox.

Exact both ways: a float keeps all its bits, and each kind of missing value stays itself.
"""

import math
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from cluster.contracts import Batch, JsonObject

#: Stands for a float that JSON has no word for, and for the missing markers beside None.
_SPECIAL = "special"


def batch_to_json(batch: Batch) -> JsonObject:
    """The batch as JSON values alone."""
    if batch.matrix is not None:
        return {"rows": batch.rows, "matrix": [_cells(row) for row in batch.matrix]}
    columns = [_column_to_json(column) for column in batch.columns or ()]
    return {"rows": batch.rows, "columns": columns}


def batch_from_json(value: JsonObject) -> Batch:
    """
    The batch that ``batch_to_json`` wrote.

    Raises:
        KeyError, TypeError, ValueError: The object is no batch.
    """
    rows = int(value["rows"])
    if "matrix" in value:
        cells = [[_value(cell) for cell in row] for row in value["matrix"]]
        return Batch(rows=rows, matrix=np.array(cells, dtype=np.float64).reshape(rows, -1))
    return Batch(rows=rows, columns=tuple(_column_from_json(c) for c in value["columns"]))


def _column_to_json(column: NDArray[Any]) -> JsonObject:
    if column.dtype.kind in "mM":  # counted in the dtype's own unit, NaT among them
        return {"dtype": column.dtype.str, "values": column.view(np.int64).tolist()}
    return {"dtype": column.dtype.str, "values": _cells(column)}


def _column_from_json(value: JsonObject) -> NDArray[Any]:
    dtype = np.dtype(value["dtype"])
    if dtype.kind in "mM":
        counted = np.array(value["values"], dtype=np.int64)
        return cast("NDArray[Any]", counted.view(dtype))
    cells = [_value(cell) for cell in value["values"]]
    if dtype.kind != "O":
        return np.array(cells, dtype=dtype)
    column = np.empty(len(cells), dtype=object)
    column[:] = cells
    return column


def _cells(values: NDArray[Any]) -> list[Any]:
    return [_cell(value) for value in values.tolist()]


def _cell(value: object) -> object:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {_SPECIAL: str(value)}
    if type(value).__name__ == "NAType":
        return {_SPECIAL: "na"}
    if isinstance(value, np.generic):
        return _cell(value.item())
    raise TypeError(f"a cell of type {type(value).__name__} cannot be kept")


def _value(cell: object) -> object:
    if not isinstance(cell, dict):
        return cell
    if cell[_SPECIAL] == "na":
        import pandas as pd

        return pd.NA
    return float(cell[_SPECIAL])

"""Rows as JSON, exact both ways."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cluster.contracts import Batch
from deployments.intake.batches import batch_from_json, batch_to_json


def _travelled(batch: Batch) -> Batch:
    return batch_from_json(json.loads(json.dumps(batch_to_json(batch), allow_nan=False)))


def test_a_matrix_keeps_every_bit() -> None:
    values = [[0.1, -0.0], [1e308, 5e-324], [np.nan, np.inf], [-np.inf, 2**53 + 1]]
    matrix = np.array(values)
    back = _travelled(Batch(rows=4, matrix=matrix))

    assert back.matrix is not None
    assert back.matrix.tobytes() == matrix.tobytes()


@pytest.mark.parametrize(
    "column",
    [
        np.array([1, -(2**53)], dtype=np.int64),
        np.array([1.5, np.nan], dtype=np.float32),
        np.array([True, False]),
        np.array(["2020-01-01", "NaT"], dtype="datetime64[ns]"),
        np.array(["2020-01-01T10:00", "1970-01-01"], dtype="datetime64[s]"),
    ],
    ids=lambda column: str(column.dtype),
)
def test_a_column_keeps_its_dtype_and_values(column: np.ndarray[Any, Any]) -> None:
    (back,) = _travelled(Batch(rows=2, columns=(column,))).columns or ()

    assert back.dtype == column.dtype
    np.testing.assert_array_equal(back, column)


def test_objects_keep_each_kind_of_missing() -> None:
    column = np.empty(6, dtype=object)
    column[:] = ["flat", None, np.nan, pd.NA, True, np.int64(7)]
    (back,) = _travelled(Batch(rows=6, columns=(column,))).columns or ()

    assert back[0] == "flat"
    assert back[1] is None
    assert isinstance(back[2], float)
    assert np.isnan(back[2])
    assert back[3] is pd.NA
    assert back[4] is True
    assert back[5] == 7


def test_no_column_is_still_a_number_of_rows() -> None:
    assert _travelled(Batch(rows=3, columns=())) == Batch(rows=3, columns=())


def test_a_cell_that_cannot_be_kept_is_refused() -> None:
    column = np.empty(1, dtype=object)
    column[0] = {"a": 1}
    with pytest.raises(TypeError, match="dict"):
        batch_to_json(Batch(rows=1, columns=(column,)))

"""Whatever a model answers, as the arrays that travel: dense, rows first, of four dtypes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.errors import PredictionFailed, TooLarge
from deployments.engines.base import Values
from deployments.engines.labels import plain_labels
from deployments.engines.trees import rows_of_lists

#: A sparse answer is made dense up to here; ``MAX_RESPONSE_SIZE`` is far below.
MAX_DENSE_BYTES = 512 * 1024 * 1024
_FLOAT_BYTES = 8


def plain_values(method: str, raw: Any, rows: int) -> Values:
    """
    The answer as ``PredictReply.values`` describes it.

    Args:
        method: For the error's sentence.
        raw: An array, sparse matrix, frame, or list of arrays (one an output).
        rows: How many rows were asked for.

    Raises:
        PredictionFailed: The answer is none of these, or has another number of rows.
        TooLarge: A sparse answer would be larger than ``MAX_DENSE_BYTES`` when dense.
    """
    if isinstance(raw, list):
        parts = [_dense(part) for part in raw]
        if parts and all(part.ndim == 2 and len(part) == rows for part in parts):  # noqa: PLR2004
            return rows_of_lists([part.astype(np.float64) for part in parts])
    values = _dense(raw)
    if rows == 1 and values.ndim == 1 and values.size > 1:
        # SparsePCA and others lose the row's axis when there is but one row.
        values = values.reshape(1, -1)
    if values.ndim < 1 or len(values) != rows or values.dtype.kind not in "biufOUSMm":
        raise PredictionFailed(
            f"the model's {method} answers {values.dtype} of shape {values.shape} for {rows} rows; "
            "a servable method answers one number, label or list of them for each row",
            method=method,
        )
    if values.dtype.kind in "Mm":
        values = values.astype(str)
    return np.ascontiguousarray(plain_labels(values))


def _dense(raw: Any) -> NDArray[Any]:
    if hasattr(raw, "toarray"):
        size_bytes = int(np.prod(raw.shape, dtype=np.float64)) * _FLOAT_BYTES
        if size_bytes > MAX_DENSE_BYTES:
            raise TooLarge(
                f"the answer would take {size_bytes:,} bytes when dense and the bound is "
                f"{MAX_DENSE_BYTES:,}; send fewer rows",
                size_bytes=size_bytes,
            )
        return np.asarray(raw.toarray())
    if hasattr(raw, "to_numpy"):
        return np.asarray(raw.to_numpy())
    return np.asarray(raw)

"""A validated batch as the object that the fitted estimator was trained on: matrix, frame, list."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.contracts import Batch, Feature, Signature
from cluster.errors import InvalidInput


def estimator_input(signature: Signature, batch: Batch) -> Any:
    """
    What the estimator is called with.

    Returns:
        By ``signature.container``: a float64 matrix, an object matrix, a DataFrame with the
        training frame's names and dtypes, or a list of documents.

    Raises:
        InvalidInput: The batch has another layout than the signature.
    """
    if signature.container == "matrix":
        if batch.matrix is None:
            raise InvalidInput("this model takes a matrix of numbers")
        return batch.matrix
    columns = batch.columns
    if columns is None or len(columns) != len(signature.features):
        raise InvalidInput(f"this model takes {len(signature.features)} columns")
    if signature.container == "documents":
        return list(columns[0])
    if signature.container == "frame":
        return _frame(signature, columns)
    return _objects(signature, columns, batch.rows)


def _objects(signature: Signature, columns: tuple[NDArray[Any], ...], rows: int) -> NDArray[Any]:
    matrix = np.empty((rows, len(columns)), dtype=object)
    for index, (feature, column) in enumerate(zip(signature.features, columns, strict=True)):
        matrix[:, index] = _marked(feature, column)
    return matrix


def _frame(signature: Signature, columns: tuple[NDArray[Any], ...]) -> Any:
    import pandas as pd

    pairs = zip(signature.features, columns, strict=True)
    # By position first: a frame may have two columns of one name.
    frame = pd.DataFrame(
        {index: _series(feature, column) for index, (feature, column) in enumerate(pairs)},
        copy=False,
    )
    frame.columns = pd.Index([feature.name for feature in signature.features], dtype="object")
    return frame


def _series(feature: Feature, column: NDArray[Any]) -> Any:
    import pandas as pd

    values = _marked(feature, column)
    if feature.dtype == "category":
        return pd.Categorical(values)
    if feature.dtype == "str":
        return pd.array(values, dtype="str")
    if feature.dtype == "object":
        # Without a dtype pandas would infer one, and a column of strings would become "str".
        return pd.Series(values, dtype="object")
    dtype = np.dtype(feature.dtype)
    if dtype.kind in "iub" and values.dtype.kind in "fO":
        # A null among integers or booleans has made the column wider, as it does in pandas.
        return values
    return values.astype(dtype, copy=False)


def _marked(feature: Feature, column: NDArray[Any]) -> NDArray[Any]:
    """The column with ``pandas.NA`` for None, where that is what the column was fitted with."""
    if feature.missing != "na" or column.dtype != object:
        return column
    import pandas as pd

    marked = column.copy()
    marked[[value is None for value in column]] = pd.NA
    return marked

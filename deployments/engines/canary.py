"""
Rows that a signature allows, made without knowing the training data.

A model is tried on them at vetting, and compiled answers are compared on them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.contracts import Batch, Feature, Signature

_WORDS = np.array(
    [
        "the",
        "model",
        "is",
        "good",
        "bad",
        "very",
        "cheap",
        "late",
        "space",
        "doctor",
        "price",
        "game",
    ],
    dtype=object,
)
#: Fixed rows before the random ones: constants over all numeric columns.
_CONSTANTS = (0.0, 1.0, -1.0, 1e30, -1e30)
#: Standard deviations of the random rows, in turn.
_SCALES = (1.0, 10.0, 1000.0, 1e-3)
_FIRST_DAY = np.datetime64("2020-01-01T00:00:00", "s")
_DAY_S = 86_400


def canary_batch(signature: Signature, rows: int = 64, seed: int = 0) -> Batch:
    """
    Rows of every kind the signature allows.

    The first rows are zeros, ones, minus ones, 1e30, -1e30 and (where nullable) nulls; the rest
    is normal at several magnitudes with known categories, every eighth row holding some nulls.

    Args:
        signature: Whose features to fill.
        rows: At least 1.
        seed: Of the random rows.
    """
    random = np.random.default_rng(seed)
    if signature.container == "documents":
        return Batch(rows=rows, columns=(_documents(rows, random),))
    columns = [_column(feature, rows, random) for feature in signature.features]
    if signature.container == "matrix":
        matrix = np.stack([column.astype(np.float64) for column in columns], axis=1)
        return Batch(rows=rows, matrix=np.ascontiguousarray(matrix))
    return Batch(rows=rows, columns=tuple(columns))


def filled(feature: Feature, values: list[Any]) -> NDArray[Any]:
    """
    A column of the feature's dtype; None becomes its missing marker.

    Raises:
        ValueError, TypeError: A value does not fit the dtype.
    """
    marker = missing_value(feature)
    values = [marker if value is None else value for value in values]
    if feature.dtype in {"object", "str", "category"}:
        column = np.empty(len(values), dtype=object)
        column[:] = values
        return column
    return np.array(values, dtype=feature.dtype)


def missing_value(feature: Feature) -> Any:
    """What stands for null in the feature's column ("na" travels as None)."""
    if feature.missing == "nat":
        return np.datetime64("NaT")
    return np.nan if feature.missing == "nan" else None


def _column(feature: Feature, rows: int, random: np.random.Generator) -> NDArray[Any]:
    values = [_value(feature, row, random) for row in range(rows)]
    if feature.nullable:
        absent = (random.random(rows) < 0.25) & (np.arange(rows) % 8 == 7)  # noqa: PLR2004
        absent |= np.arange(rows) == len(_CONSTANTS)
        values = [None if gone else value for gone, value in zip(absent, values, strict=True)]
    return filled(feature, values)


def _value(feature: Feature, row: int, random: np.random.Generator) -> Any:
    known = [value for value in feature.categories or () if value is not None]
    if known:
        return known[int(random.integers(len(known)))]
    if feature.type == "string":
        return str(random.choice(_WORDS))
    if feature.type == "boolean":
        return bool(random.integers(2))
    if feature.type == "datetime":
        return _FIRST_DAY + np.timedelta64(int(random.integers(1000 * _DAY_S)), "s")
    if feature.type == "integer":
        return row if row < 2 else int(random.normal() * 10)  # noqa: PLR2004
    if row < len(_CONSTANTS):
        return _CONSTANTS[row]
    return float(random.normal() * _SCALES[row % len(_SCALES)])


def _documents(rows: int, random: np.random.Generator) -> NDArray[Any]:
    documents = np.empty(rows, dtype=object)
    for row in range(rows):
        documents[row] = " ".join(random.choice(_WORDS, size=2 + row % 12))
    return documents

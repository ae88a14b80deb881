"""
Whether a compiled model answers as its original: labels identical, floats to 1e-12.

The original is asked in one batch; where that raises, in halves, so that the rows it refuses are
known and the compiled model is held to refuse them too.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cluster.contracts import Batch, Method
from cluster.errors import PredictionFailed
from deployments.engines.base import Engine, Matrix, Values

#: Absolute and relative.
TOLERANCE = 1e-12
#: Rows that are also asked one by one.
_SINGLE_ROWS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """How the answers of two engines compare."""

    #: What differs, in words for the version's engine note; empty where nothing does.
    difference: str = ""
    #: Whether all answers are numbers, equal to the last bit.
    is_exact: bool = False


def compare(compiled: Engine, native: Engine, method: Method, rows: Matrix) -> Comparison:
    """One method of the compiled model beside its original's, over all rows."""
    is_exact = True
    for start, stop, expected in _answers(native, method, rows, 0):
        actual = _answer(compiled, method, rows[start:stop])
        if expected is None or actual is None:
            if expected is not actual:
                return Comparison(difference=f"{method} fails on other rows than scikit-learn")
            continue
        different = _first_difference(expected, actual)
        if different is not None:
            row = start + different
            return Comparison(difference=f"{method} differs from scikit-learn in row {row}")
        for row in range(min(_SINGLE_ROWS, stop - start)):
            alone = _answer(compiled, method, rows[start + row : start + row + 1])
            if alone is None or _first_difference(actual[row : row + 1], alone) is not None:
                difference = f"{method} of one row differs from the same row in a batch"
                return Comparison(difference=difference)
        is_exact &= expected.dtype.kind == "f" and np.array_equal(expected, actual, equal_nan=True)
    return Comparison(is_exact=is_exact)


def _answers(
    engine: Engine, method: Method, rows: Matrix, offset: int
) -> list[tuple[int, int, Values | None]]:
    """Runs of rows with their answers, ``None`` for a single row that the engine refuses."""
    values = _answer(engine, method, rows)
    if values is not None or len(rows) == 1:
        return [(offset, offset + len(rows), values)]
    half = len(rows) // 2
    head = _answers(engine, method, rows[:half], offset)
    return head + _answers(engine, method, rows[half:], offset + half)


def _answer(engine: Engine, method: Method, rows: Matrix) -> Values | None:
    try:
        return engine.run(method, Batch(rows=len(rows), matrix=np.ascontiguousarray(rows)))
    except PredictionFailed:
        return None


def _first_difference(expected: Values, actual: Values) -> int | None:
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        return 0
    if expected.dtype.kind == "f":
        different = ~_close(expected, actual)
    elif expected.dtype == object and len(expected) and isinstance(expected[0], list):
        pairs = zip(expected, actual, strict=True)
        different = np.array([not _lists_close(one, other) for one, other in pairs])
    else:
        different = expected != actual
    by_row = different.reshape(len(expected), -1).any(axis=1)
    return int(np.argmax(by_row)) if by_row.any() else None


def _close(expected: NDArray[np.float64], actual: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.isclose(actual, expected, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)


def _lists_close(one: list[list[float]], other: list[list[float]]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(bool(_close(np.array(a), np.array(b)).all()) for a, b in pairs)

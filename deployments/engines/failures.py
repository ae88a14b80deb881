"""The one error a compiled engine has of its own: numbers that scikit-learn would refuse."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.errors import PredictionFailed


def refuse_non_finite(method: str, matrix: NDArray[Any]) -> None:
    """
    Raise for the first row that holds an infinity or NaN.

    Raises:
        PredictionFailed: With the method and the row, as for any model that raises.
    """
    bad = ~np.isfinite(matrix).all(axis=1)
    if not bad.any():
        return
    row = int(np.argmax(bad))
    raise PredictionFailed(
        f"the model cannot compute {method} for row {row}: "
        "a value is too large for its arithmetic; send smaller numbers",
        method=method,
        row=row,
        library_text="non-finite value after preprocessing",
    )

"""What an estimator answers for its own rows, and whether two sets of answers are the same bits."""

import warnings
from typing import Any

import numpy as np

from cluster.contracts import METHODS

_GLOBAL_SEED = 0


def answers(estimator: Any, inputs: Any) -> dict[str, Any]:
    """method -> result or error text, with numpy's global generator at a fixed point."""
    np.random.seed(_GLOBAL_SEED)  # noqa: NPY002 - random_state=None draws from it
    found: dict[str, Any] = {}
    for method in METHODS:
        call = getattr(estimator, method, None)
        if call is None:
            continue
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                found[method] = call(inputs)
        except Exception as error:  # noqa: BLE001 - the same rows must provoke the same error
            found[method] = repr(error)
    return found


def are_same(first: Any, second: Any) -> bool:
    """True for equal types, shapes, dtypes and bits."""
    if hasattr(first, "toarray") and hasattr(second, "toarray"):
        return are_same(first.toarray(), second.toarray())
    if type(first) is not type(second):
        return False
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(are_same, first, second))
    if isinstance(first, np.ndarray):
        if first.dtype != second.dtype or first.shape != second.shape:
            return False
        if first.dtype == object:
            pairs = zip(first.ravel(), second.ravel(), strict=True)
            return all(bool(a is b or a == b or (a != a and b != b)) for a, b in pairs)  # noqa: PLR0124 - NaN
        return bool(first.tobytes() == second.tobytes())
    return bool(first.equals(second)) if hasattr(first, "equals") else bool(first == second)

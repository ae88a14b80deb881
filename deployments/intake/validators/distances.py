"""Distance metrics: their vector and matrix have the sizes that the compiled code assumes."""

from typing import Any

import numpy as np

from deployments.intake.refusals import refusal


def wrong_native(what: str) -> Exception:
    """The refusal of native state that compiled code must not see."""
    return refusal(
        f"gate3: {what}: the file is damaged or was altered, save the model again",
        gate="gate3",
        reason="native",
    )


def check_distance_state(state: Any) -> tuple[float, Any, Any]:
    """``(p, vec, mat)``: a positive power, a vector and a square matrix, contiguous."""
    if type(state) is not tuple or len(state) != 3:  # noqa: PLR2004 - p, vec, mat
        raise wrong_native("a distance has another form")
    power, vector, matrix = state
    good = (
        type(power) is float
        and power > 0
        and all(type(part) is np.ndarray and part.dtype == np.float64 for part in (vector, matrix))
        and vector.ndim == 1
        and matrix.ndim == 2  # noqa: PLR2004 - a matrix
        and matrix.shape[0] == matrix.shape[1]
    )
    if not good:
        raise wrong_native("a distance's weights have other sizes")
    return power, np.ascontiguousarray(vector), np.ascontiguousarray(matrix)


def check_distance_features(distance: Any, features: int) -> None:
    """Refuse a distance whose weights are for another number of features."""
    kind = type(distance).__name__
    _, vector, matrix = distance.__getstate__()
    if kind.startswith("Mahalanobis"):
        good = matrix.shape == (features, features)
    elif kind.startswith("SEuclidean"):
        good = vector.shape == (features,)
    elif kind.startswith("Haversine"):
        good = features == 2  # noqa: PLR2004 - latitude and longitude
    elif kind.startswith("Minkowski"):
        good = vector.size in {0, features}
    else:
        good = True
    if not good:
        raise wrong_native("a distance has weights for another number of features")

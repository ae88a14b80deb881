"""Isotonic regression: sorted finite thresholds, from which its interpolation is rebuilt."""

from typing import Any

import numpy as np
from sklearn.isotonic import IsotonicRegression

from deployments.intake.validators.distances import wrong_native


def check_isotonic(model: Any) -> None:
    """Thresholds are two flat arrays of one length, the first rising; then ``f_`` is rebuilt."""
    attributes = model.__dict__
    if "X_thresholds_" not in attributes and "y_thresholds_" not in attributes:
        return
    x, y = attributes.get("X_thresholds_"), attributes.get("y_thresholds_")
    good = (
        all(type(part) is np.ndarray and part.dtype.kind == "f" for part in (x, y))
        and x.ndim == y.ndim == 1
        and len(x) == len(y) > 0
        and bool(np.all(np.isfinite(x)))
        and bool(np.all(np.isfinite(y)))
        and bool(np.all(np.diff(x) >= 0))
    )
    if not good:
        raise wrong_native("an isotonic model's thresholds are not sorted numbers")
    # scikit-learn leaves the function out of its files and builds it again on load.
    model._build_f(x, y)  # noqa: SLF001 - what its own __setstate__ calls


RULES = (((IsotonicRegression,), check_isotonic),)

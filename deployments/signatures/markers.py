"""What stands for a missing value in a column: NaN, None, NaT or pandas.NA."""

import math
from typing import Literal

import numpy as np

Marker = Literal["nan", "none", "nat", "na"]


def marker_of(value: object) -> Marker | None:
    """The marker that ``value`` is; ``None`` where it is an ordinary value."""
    if value is None:
        return "none"
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return "nat" if np.isnat(value) else None
    if type(value).__name__ == "NAType":
        return "na"
    if type(value).__name__ == "NaTType":
        return "nat"
    return "nan" if isinstance(value, (float, np.floating)) and math.isnan(value) else None

"""The categories an encoder was fitted on, as JSON-safe values with the column's type and dtype."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.contracts import FeatureType, Scalar
from deployments.signatures.markers import Marker, marker_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Categories:
    """One encoded column."""

    type: FeatureType
    dtype: str
    #: The known values where others are refused; ``None`` where any will do.
    values: tuple[Scalar, ...] | None
    #: What stood for a missing value, where one was seen.
    marker: Marker | None


def read_categories(values: NDArray[Any], *, is_strict: bool) -> Categories:
    """
    Type, dtype, marker and known values of one column.

    Args:
        values: One element of an encoder's ``categories_``.
        is_strict: Whether the encoder refuses a value that is not among them.
    """
    found = [marker for marker in map(marker_of, values) if marker is not None]
    plain = [_plain(value) for value in values if marker_of(value) is None]
    kind, dtype = _typed(values.dtype, plain)
    has_missing = bool(found)
    if has_missing and dtype in {"int64", "bool"}:
        dtype = "object"
    return Categories(
        type=kind,
        dtype=dtype,
        values=tuple(plain) if is_strict else None,
        marker=found[0] if found else None,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        # As RFC 3339 writes it, without the zeros that only the unit adds.
        text = str(value.astype("datetime64[ns]"))
        return text.rstrip("0").rstrip(".") if "." in text else text
    return value.item() if isinstance(value, np.generic) else value


def _typed(dtype: np.dtype[Any], plain: Sequence[object]) -> tuple[FeatureType, str]:
    if dtype.kind == "M":
        return "datetime", f"datetime64[{np.datetime_data(dtype)[0]}]"
    if dtype.kind == "b":
        return "boolean", "bool"
    if dtype.kind in "iu":
        return "integer", "int64"
    if dtype.kind == "f":
        return "number", "float64"
    return _type_of_objects(plain), "object"


def _type_of_objects(plain: Sequence[object]) -> FeatureType:
    types = {type(value) for value in plain}
    if types == {bool}:
        return "boolean"
    if types == {int}:
        return "integer"
    if types and types <= {int, float}:
        return "number"
    return "string" if types <= {str} else "unknown"

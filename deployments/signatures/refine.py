"""Types that an estimator does not tell, taken from the rows its owner sent along."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from cluster.contracts import Feature, FeatureType, Method, Signature
from deployments.engines.base import Estimator
from deployments.signatures.markers import Marker
from deployments.signatures.probing import Prober, typical_batch

_DTYPES: dict[FeatureType, str] = {
    "number": "float64",
    "string": "object",
    "boolean": "bool",
    "datetime": "datetime64[ns]",
}


def refine_signature(
    signature: Signature, estimator: Estimator, instances: Sequence[Any]
) -> Signature:
    """
    The signature with features of unknown type narrowed to what the rows hold.

    A feature stays unknown where the rows hold several kinds, or where the estimator refuses a
    column of that kind.

    Args:
        signature: As derived.
        estimator: Which it was derived from.
        instances: JSON rows: lists in column order, or objects by feature name.
    """
    for index, feature in enumerate(signature.features):
        if feature.type != "unknown":
            continue
        kind = _kind([_cell(row, index, feature.name) for row in instances])
        if kind is None:
            continue
        narrowed = _with(signature, index, _narrowed(feature, kind))
        if _is_answered(narrowed, estimator, signature.methods[0]):
            signature = narrowed
    return signature


def _narrowed(feature: Feature, kind: FeatureType) -> Feature:
    dtype = "object" if kind == "boolean" and feature.nullable else _DTYPES[kind]
    missing: Marker = "nat" if kind == "datetime" else "nan"
    return replace(feature, type=kind, dtype=dtype, missing=missing)


def _with(signature: Signature, index: int, feature: Feature) -> Signature:
    features = (*signature.features[:index], feature, *signature.features[index + 1 :])
    return replace(signature, features=features)


def _is_answered(signature: Signature, estimator: Estimator, method: Method) -> bool:
    return Prober(estimator, method).accepts(signature, typical_batch(signature))


def _cell(row: object, index: int, name: str) -> object:
    if isinstance(row, Mapping):
        return row.get(name)
    return row[index] if isinstance(row, Sequence) and index < len(row) else None


def _kind(cells: Sequence[object]) -> FeatureType | None:
    kinds = {_kind_of(cell) for cell in cells if cell is not None}
    if kinds == {"datetime", "string"}:
        return "string"
    return kinds.pop() if len(kinds) == 1 else None


def _kind_of(cell: object) -> FeatureType | None:
    if isinstance(cell, bool):
        return "boolean"
    if isinstance(cell, (int, float)):
        return "number"
    if not isinstance(cell, str):
        return None
    return "datetime" if _is_timestamp(cell) else "string"


def _is_timestamp(text: str) -> bool:
    if "T" not in text:
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True

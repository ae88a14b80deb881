"""
A signature as JSON: the whole of it for the registry, and the part that callers see.

Non-finite floats have no place in JSON, so a category that is one (an encoder's NaN) is stored
as null, which means "missing" there too.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from cluster.contracts import Bounds, Feature, JsonObject, OutputSpec, Signature


def signature_to_json(signature: Signature) -> JsonObject:
    """Everything in ``signature`` as JSON values; ``signature_from_json`` gives it back equal."""
    return {
        "kind": signature.kind,
        "container": signature.container,
        "features": [_stored_feature(feature) for feature in signature.features],
        "methods": list(signature.methods),
        "outputs": _outputs(signature),
        "classes": plain(signature.classes),
        "sklearn_version": signature.sklearn_version,
    }


def signature_from_json(stored: JsonObject) -> Signature:
    """
    The signature that ``signature_to_json`` stored.

    Raises:
        KeyError: If a member is missing, hence ``stored`` was not written by this module.
    """
    return Signature(
        kind=stored["kind"],
        container=stored["container"],
        features=tuple(_feature(feature) for feature in stored["features"]),
        methods=tuple(stored["methods"]),
        outputs={
            method: OutputSpec(type=spec["type"], shape=tuple(spec["shape"]))
            for method, spec in stored["outputs"].items()
        },
        classes=_frozen(stored["classes"]),
        sklearn_version=stored["sklearn_version"],
    )


def public_signature(signature: Signature) -> JsonObject:
    """What the HTTP API shows: how to call the version, without how we call the estimator."""
    return {
        "kind": signature.kind,
        "features": [_public_feature(feature) for feature in signature.features],
        "methods": list(signature.methods),
        "outputs": _outputs(signature),
        "classes": plain(signature.classes),
        "sklearn_version": signature.sklearn_version,
    }


def bounds_from_json(stored: Mapping[str, Any]) -> dict[str, Bounds]:
    """What the owner allows, by feature name, from ``{name: {"min"?, "max"?}}``."""
    return {
        name: Bounds(minimum=bound.get("min"), maximum=bound.get("max"))
        for name, bound in stored.items()
    }


def plain(value: Any) -> Any:
    """``value`` with tuples as lists, numpy scalars as Python's, and what JSON lacks as null."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _public_feature(feature: Feature) -> JsonObject:
    shown: JsonObject = {
        "name": feature.name,
        "type": feature.type,
        "nullable": feature.nullable,
    }
    if feature.categories is not None:
        shown["categories"] = plain(feature.categories)
    return shown


def _stored_feature(feature: Feature) -> JsonObject:
    return _public_feature(feature) | {"dtype": feature.dtype, "missing": feature.missing}


def _feature(stored: JsonObject) -> Feature:
    return Feature(
        name=stored["name"],
        type=stored["type"],
        nullable=stored["nullable"],
        categories=_frozen(stored.get("categories")),
        dtype=stored["dtype"],
        missing=stored["missing"],
    )


def _outputs(signature: Signature) -> JsonObject:
    return {
        method: {"type": spec.type, "shape": list(spec.shape)}
        for method, spec in signature.outputs.items()
    }


def _frozen(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_frozen(item) for item in value)
    return value

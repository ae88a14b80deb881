"""
Gate 3, first half: visit every value of the loaded model and refuse what no model contains.

Whatever the formats let through (a token that never became an object, a function that was not
named, an instance of an unlisted class) stops here, as does a nesting that destructors and
``repr`` would have to follow.
"""

import datetime as dt
from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.interpolate import BSpline
from sklearn._loss._loss import CyHalfMultinomialLoss
from sklearn.cluster import BisectingKMeans
from sklearn.cluster._kmeans import _kmeans_single_elkan, _kmeans_single_lloyd
from sklearn.neighbors import BallTree, KDTree
from sklearn.tree._tree import Tree

from deployments.intake.build_state import SPLITTERS
from deployments.intake.constructors.natives import DISTANCES, LOSSES
from deployments.intake.globals import Grants
from deployments.intake.limits import Limits
from deployments.intake.refusals import refusal

_LEAVES = frozenset(
    {
        str,
        int,
        float,
        bool,
        complex,
        bytes,
        bytearray,
        slice,
        range,
        type(None),
        type(Ellipsis),
        dt.date,
        dt.datetime,
    }
)
KMEANS_STEPS = (_kmeans_single_lloyd, _kmeans_single_elkan)
_SEQUENCES = frozenset({list, tuple, set, frozenset})
_MAPPINGS = frozenset({dict, OrderedDict, defaultdict})
#: Checked when they were made, and holding nothing but numbers and text.
_CHECKED = (
    frozenset(
        {
            Tree,
            KDTree,
            BallTree,
            BSpline,
            CyHalfMultinomialLoss,
            np.random.RandomState,
            np.random.Generator,
            np.random.MT19937,
            np.random.PCG64,
            np.random.SeedSequence,
            sparse.csr_matrix,
            sparse.csc_matrix,
            sparse.csr_array,
            sparse.csc_array,
            pd.Index,
            pd.RangeIndex,
            pd.StringDtype,
            pd.arrays.StringArray,
            type(pd.NA),
        }
    )
    | DISTANCES
    | LOSSES.keys()
)


def instances(root: Any, grants: Grants, limits: Limits) -> list[Any]:
    """
    Every instance of a listed class reachable from ``root``, each once, owners first.

    Raises:
        UploadRefused: gate3, reason "object" or "budget".
    """
    found: list[Any] = []
    seen: set[int] = set()
    waiting: list[tuple[Any, int]] = [(root, 0)]
    while waiting:
        value, depth = waiting.pop()
        if type(value) in _LEAVES or isinstance(value, np.generic) or id(value) in seen:
            continue
        seen.add(id(value))
        if depth > limits.max_depth:
            raise refusal(
                f"gate3: the model is nested more than {limits.max_depth} deep",
                gate="gate3",
                reason="budget",
            )
        waiting.extend((child, depth + 1) for child in _children(value, grants, found))
    return found


def _children(value: Any, grants: Grants, found: list[Any]) -> Iterable[Any]:
    cls = type(value)
    if cls in _SEQUENCES:
        return tuple(value)
    if cls in _MAPPINGS:
        return [*value.keys(), *value.values()]
    if isinstance(value, np.ndarray):
        return _elements(value)
    if cls in _CHECKED or isinstance(value, np.dtype):
        return ()
    if cls is partial:
        return (value.func, value.args, value.keywords)
    if grants.has_granted(cls):
        found.append(value)
        return _parts(value)
    if any(value is kept for kept in SPLITTERS):
        return ()
    # Private functions of scikit-learn (one step of k-means) take arrays without a look at them.
    if getattr(value, "__name__", "").startswith("_"):
        raise _foreign(value)
    if grants.is_reference(value) and (not isinstance(value, type) or grants.is_value_type(value)):
        return ()
    raise _foreign(value)


def _parts(value: Any) -> list[Any]:
    attributes = dict(getattr(value, "__dict__", {}))
    if type(value) is BisectingKMeans and attributes.get("_kmeans_single") in KMEANS_STEPS:
        del attributes["_kmeans_single"]  # used by fit alone
    parts = list(attributes.values())
    if isinstance(value, tuple):  # a named tuple
        parts.extend(value)
    if isinstance(value, dict):  # a Bunch
        parts.extend([*value.keys(), *value.values()])
    return parts


def _elements(value: Any) -> Iterable[Any]:
    if type(value) is np.ma.MaskedArray:
        return _elements(value.data)
    if type(value) is not np.ndarray:
        raise _foreign(value)
    return list(value.ravel(order="K")) if value.dtype == np.dtype(object) else ()


def _foreign(value: Any) -> Exception:
    cls = type(value)
    name = getattr(value, "name", None)
    if not isinstance(name, str):
        name = f"{cls.__module__}.{cls.__qualname__}"
    return refusal(
        f"gate3: the model holds {name!r}, which a fitted scikit-learn model does not: save it "
        "again from a clean session",
        gate="gate3",
        reason="object",
        name=name,
    )

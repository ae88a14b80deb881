"""
Fitted scikit-learn transformers to ``Step`` lists, where that is exact.

Dispatch is by exact class: a subclass may override ``transform``.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deployments.engines.base import Estimator
from deployments.engines.steps import Step


class NotCompilable(Exception):
    """No exact compiled form; the message is the engine note."""


def compile_step(transformer: Estimator) -> list[Step]:
    """
    The operations of one fitted transformer.

    Raises:
        NotCompilable: It has none that are exact.
    """
    if transformer is None or transformer == "passthrough":
        return []
    cls = type(transformer)
    if not cls.__module__.startswith("sklearn.") or cls.__name__ not in _COMPILERS:
        raise NotCompilable(f"{cls.__name__} has no compiled form")
    return _COMPILERS[cls.__name__](transformer)


def _floats(values: ArrayLike) -> NDArray[np.float64]:
    return np.ascontiguousarray(values, dtype=np.float64)


def _step(operation: str, *arrays: ArrayLike) -> Step:
    return Step(operation=operation, arrays=tuple(_floats(array) for array in arrays))


def _standard(scaler: Estimator) -> list[Step]:
    steps = [_step("subtract", scaler.mean_)] if scaler.with_mean else []
    return [*steps, _step("divide", scaler.scale_)] if scaler.with_std else steps


def _robust(scaler: Estimator) -> list[Step]:
    steps = [_step("subtract", scaler.center_)] if scaler.with_centering else []
    return [*steps, _step("divide", scaler.scale_)] if scaler.with_scaling else steps


def _min_max(scaler: Estimator) -> list[Step]:
    steps = [_step("multiply", scaler.scale_), _step("add", scaler.min_)]
    low, high = scaler.feature_range
    return [*steps, _step("clip", [low], [high])] if scaler.clip else steps


def _max_abs(scaler: Estimator) -> list[Step]:
    steps = [_step("divide", scaler.scale_)]
    return [*steps, _step("clip", [-1.0], [1.0])] if getattr(scaler, "clip", False) else steps


def _simple_imputer(imputer: Estimator) -> list[Step]:
    statistics = np.asarray(imputer.statistics_)
    takes_nan = isinstance(imputer.missing_values, float) and np.isnan(imputer.missing_values)
    if not takes_nan or imputer.add_indicator or statistics.dtype.kind != "f":
        raise NotCompilable("SimpleImputer has a compiled form for NaN in numbers only")
    kept = np.arange(statistics.size)
    if not imputer.keep_empty_features:
        kept = np.flatnonzero(~np.isnan(statistics))
    picks = [] if kept.size == statistics.size else [_pick(kept)]
    return [*picks, _step("fill", statistics[kept])]


def _pick(indices: NDArray[np.intp]) -> Step:
    return Step(operation="pick", arrays=(indices.astype(np.int64),))


def _selector(selector: Estimator) -> list[Step]:
    return [_pick(np.flatnonzero(selector.get_support()))]


def _pca(pca: Estimator) -> list[Step]:
    components = np.asarray(pca.components_)
    offset = (np.reshape(pca.mean_, (1, -1)) @ components.T)[0]
    scale = np.ones(len(components))
    if pca.whiten:
        scale = np.sqrt(pca.explained_variance_)
        scale[scale < np.finfo(scale.dtype).eps] = np.finfo(scale.dtype).eps
    return [_step("project", components, offset, scale)]


_COMPILERS: Mapping[str, Callable[[Estimator], list[Step]]] = {
    "StandardScaler": _standard,
    "RobustScaler": _robust,
    "MinMaxScaler": _min_max,
    "MaxAbsScaler": _max_abs,
    "SimpleImputer": _simple_imputer,
    "VarianceThreshold": _selector,
    "SelectKBest": _selector,
    "SelectPercentile": _selector,
    "SelectFromModel": _selector,
    "RFE": _selector,
    "PCA": _pca,
}


def encode_categories(
    categories: Sequence[NDArray[np.float64]], indices: NDArray[np.intp], width: int
) -> list[Step]:
    """
    An OrdinalEncoder of numeric categories over some columns, which it puts first.

    Args:
        categories: Sorted known values of each encoded column; NaN, where it is one, comes last.
        indices: The encoded columns, in the order of ``categories``.
        width: Columns of the whole matrix.
    """
    rest = np.setdiff1d(np.arange(width), indices)
    known = [_floats(values)[~np.isnan(_floats(values))] for values in categories]
    if any(not values.size for values in known):
        raise NotCompilable("a categorical column has no category")
    starts = np.concatenate([[0], np.cumsum([values.size for values in known])]).astype(np.int64)
    encode = Step(operation="encode", arrays=(starts, np.concatenate(known)))
    return [_pick(np.concatenate([indices, rest])), encode]

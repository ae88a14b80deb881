"""KDTree and BallTree: the index is a permutation and every node is a range of it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors._kd_tree import NodeData

from deployments.intake.validators.distances import check_distance_features, wrong_native

_STATE_PARTS = 13


def check_neighbour_tree_state(state: Any, *, is_ball: bool) -> tuple[Any, ...]:
    """The state for ``__setstate__``, its arrays contiguous and every index in range."""
    if type(state) is not tuple or len(state) != _STATE_PARTS:
        raise wrong_native("a neighbour tree has another form")
    data, index, nodes, bounds = state[:4]
    _check_arrays(data, index, nodes, bounds)
    rows, features = data.shape
    if not np.array_equal(np.sort(index), np.arange(rows)):
        raise wrong_native("a neighbour tree's index is no permutation")
    _check_counts(state[4:11], len(nodes))
    _check_nodes(nodes, rows)
    if bounds.shape != ((1 if is_ball else 2), len(nodes), features):
        raise wrong_native("a neighbour tree's bounds have another shape")
    check_distance_features(state[11], features)
    weights = state[12]
    if weights is not None and (
        type(weights) is not np.ndarray or weights.dtype != np.float64 or weights.shape != (rows,)
    ):
        raise wrong_native("a neighbour tree's weights have another shape")
    arrays = tuple(np.ascontiguousarray(part) for part in (data, index, nodes, bounds))
    return (*arrays, *state[4:])


def _check_arrays(data: Any, index: Any, nodes: Any, bounds: Any) -> None:
    good = (
        all(type(part) is np.ndarray for part in (data, index, nodes, bounds))
        and data.dtype == np.float64
        and data.ndim == 2  # noqa: PLR2004 - rows and features
        and min(data.shape) > 0
        and index.dtype == np.intp
        and index.shape == (data.shape[0],)
        and nodes.dtype == NodeData
        and nodes.ndim == 1
        and len(nodes) > 0
        and bounds.dtype == np.float64
    )
    if not good:
        raise wrong_native("a neighbour tree's arrays have another type or shape")


def _check_counts(counts: tuple[Any, ...], nodes: int) -> None:
    # leaf_size, n_levels, n_nodes, n_trims, n_leaves, n_splits, n_calls
    if any(type(count) is not int or count < 0 for count in counts):
        raise wrong_native("a neighbour tree's counters are no numbers")
    if counts[0] < 1 or counts[2] != nodes:
        raise wrong_native("a neighbour tree counts other nodes than it has")


def _check_nodes(nodes: NDArray[Any], rows: int) -> None:
    start, end = nodes["idx_start"], nodes["idx_end"]
    if not bool(np.all((start >= 0) & (start <= end) & (end <= rows))):
        raise wrong_native("a neighbour tree's node leaves its index")
    # Children of node i are 2i + 1 and 2i + 2, unless it is a leaf.
    inner = np.flatnonzero(nodes["is_leaf"] == 0)
    if inner.size and 2 * int(inner.max()) + 2 >= len(nodes):
        raise wrong_native("a neighbour tree's node has no children to go to")

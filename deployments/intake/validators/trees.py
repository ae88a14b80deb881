"""
Decision trees: each node is reached once from the root, and every index is inside.

``Tree.predict`` follows ``left_child``, ``right_child`` and ``feature`` without looking, so a
loop never ends and an index out of range reads foreign memory.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.tree._tree import NODE_DTYPE

from deployments.intake.refusals import refusal

_LEAF = -1


def wrong_tree(what: str) -> Exception:
    """The refusal of a tree that compiled code must not walk."""
    return refusal(
        f"gate3: a decision tree {what}: the file is damaged or was altered, save the model again",
        gate="gate3",
        reason="tree",
    )


def check_tree_state(state: Any, features: int, outputs: tuple[int, int]) -> dict[str, Any]:
    """
    The state for ``Tree.__setstate__``, rebuilt from its checked parts.

    Args:
        state: What the file holds: max_depth, node_count, nodes, values.
        features: Number of features that the tree was made for.
        outputs: (outputs, largest number of classes), the shape of one node's value.
    """
    if type(state) is not dict or not {"max_depth", "node_count", "nodes", "values"} <= set(state):
        raise wrong_tree("has another form")
    nodes, values = state["nodes"], state["values"]
    if type(nodes) is not np.ndarray or nodes.dtype != NODE_DTYPE or nodes.ndim != 1:
        raise wrong_tree("has nodes of another type, as from another scikit-learn version")
    if type(values) is not np.ndarray or values.dtype != np.float64:
        raise wrong_tree("has values of another type")
    if values.shape != (len(nodes), *outputs) or len(nodes) == 0:
        raise wrong_tree("has values of another shape")
    count, depth = state["node_count"], state["max_depth"]
    if type(count) is not int or count != len(nodes):
        raise wrong_tree("counts other nodes than it has")
    levels = check_children(nodes["left_child"], nodes["right_child"], wrong_tree)
    if type(depth) is not int or not levels <= depth <= count:
        raise wrong_tree("says another depth than it has")
    _check_features(nodes, features)
    return {
        "max_depth": depth,
        "node_count": count,
        "nodes": np.ascontiguousarray(nodes),
        "values": np.ascontiguousarray(values),
    }


def _check_features(nodes: NDArray[Any], features: int) -> None:
    splits = nodes["left_child"] != _LEAF
    used = nodes["feature"][splits]
    if used.size and (used.min() < 0 or used.max() >= features):
        raise wrong_tree("splits on a feature that does not exist")


def check_children(left: NDArray[Any], right: NDArray[Any], wrong: Any) -> int:
    """
    The depth of the tree (0 for a root alone).

    Refuses, through ``wrong(what)``, children out of range, a child of two parents, loops, nodes
    that no path reaches, and a node with one child.
    """
    count = len(left)
    is_leaf = left == _LEAF
    if not np.array_equal(is_leaf, right == _LEAF):
        raise wrong("has a node with one child")
    inner = ~is_leaf
    children = np.concatenate([left[inner], right[inner]]).astype(np.intp)
    if children.size and (children.min() < 1 or children.max() >= count):
        raise wrong("has a child out of range")
    # Each node but the root has exactly one parent: with the root above all, this excludes loops.
    parents = np.bincount(children, minlength=count)
    if children.size != count - 1 or int(parents.max()) > 1:
        raise wrong("has a node with two parents or none")
    splits = np.flatnonzero(inner)
    ancestor = np.zeros(count, dtype=np.intp)
    ancestor[children] = np.concatenate([splits, splits])
    steps = np.ones(count, dtype=np.intp)
    steps[0] = 0
    # Each round doubles how far up everybody looks; a loop never sees the root.
    for _ in range(count.bit_length()):
        if not ancestor.any():
            return int(steps.max())
        steps += steps[ancestor]
        ancestor = ancestor[ancestor]
    raise wrong("has nodes that no path reaches")

"""Tree ensembles in ONNX: each tree passes the check that scikit-learn's own trees pass."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployments.intake.refusals import refusal
from deployments.intake.validators.trees import check_children

TREE_OPERATORS = frozenset({"TreeEnsembleClassifier", "TreeEnsembleRegressor"})
_LISTS = (
    "nodes_treeids",
    "nodes_nodeids",
    "nodes_featureids",
    "nodes_truenodeids",
    "nodes_falsenodeids",
)
_MAX_FEATURE = 1 << 24


def wrong(what: str) -> Exception:
    """The refusal of a tree ensemble whose nodes do not form trees."""
    return refusal(
        f"gate2: a tree of the ONNX model {what}: export the model again",
        gate="gate2",
        reason="onnx",
    )


def check_trees(node: Any) -> None:
    """
    Every tree of one ensemble operator is a tree.

    Raises:
        UploadRefused: gate2, reason "onnx".
    """
    found = {attribute.name: attribute for attribute in node.attribute}
    columns = {
        name: np.asarray(found[name].ints if name in found else (), np.int64) for name in _LISTS
    }
    modes = np.asarray(found["nodes_modes"].strings if "nodes_modes" in found else (), object)
    count = len(modes)
    if count == 0 or any(len(column) != count for column in columns.values()):
        raise wrong("has lists of different lengths")
    features = columns["nodes_featureids"]
    if features.min() < 0 or features.max() > _MAX_FEATURE:
        raise wrong("splits on a feature that does not exist")
    is_leaf = modes == b"LEAF"
    order = np.argsort(columns["nodes_treeids"], kind="stable")
    cuts = np.flatnonzero(np.diff(columns["nodes_treeids"][order])) + 1
    for part in np.split(order, cuts):
        _check_tree(columns, is_leaf, part)


def _check_tree(columns: dict[str, NDArray[Any]], is_leaf: NDArray[Any], part: Any) -> None:
    ids = columns["nodes_nodeids"][part]
    if not np.array_equal(np.sort(ids), np.arange(len(part))):
        raise wrong("numbers its nodes with gaps")
    rows = part[np.argsort(ids)]
    leaf = is_leaf[rows]
    left = np.where(leaf, -1, columns["nodes_truenodeids"][rows])
    right = np.where(leaf, -1, columns["nodes_falsenodeids"][rows])
    check_children(left, right, wrong)

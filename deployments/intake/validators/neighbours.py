"""Neighbour models: the labels and the tree that compiled reductions index without looking."""

from typing import Any

import numpy as np
from sklearn.cluster import BisectingKMeans
from sklearn.neighbors import KernelDensity
from sklearn.neighbors._base import NeighborsBase

from deployments.intake.validators.distances import wrong_native


def check_neighbours(model: Any) -> None:
    """The stored points, their tree and their labels agree in number."""
    attributes = model.__dict__
    points, features = attributes.get("_fit_X"), attributes.get("n_features_in_")
    if points is None:
        return
    shape: tuple[Any, ...] = getattr(points, "shape", ())
    rows = attributes.get("n_samples_fit_")
    if len(shape) != 2 or shape[0] != rows:  # noqa: PLR2004 - rows and features
        raise wrong_native("a neighbour model keeps other points than it counts")
    tree = attributes.get("_tree")
    if tree is not None and (tree.data.shape[0] != rows or tree.data.shape[1] != features):
        raise wrong_native("a neighbour model's tree is over other points")
    _check_labels(attributes, rows)


def _check_labels(attributes: dict[str, Any], rows: int) -> None:
    labels, classes = attributes.get("_y"), attributes.get("classes_")
    if labels is None:
        return
    if not isinstance(labels, np.ndarray) or labels.shape[:1] != (rows,):
        raise wrong_native("a neighbour model has other labels than points")
    if classes is None or labels.dtype.kind not in "iu" or labels.size == 0:
        return
    lists = classes if type(classes) is list else [classes]
    columns = labels.reshape(rows, -1).T
    if len(lists) != len(columns):
        raise wrong_native("a neighbour model has other labels than classes")
    for column, known in zip(columns, lists, strict=True):
        if column.min() < 0 or column.max() >= len(known):
            raise wrong_native("a neighbour model has a label without a class")


def check_density(model: Any) -> None:
    """The tree of a kernel density is over the model's own features."""
    tree = model.__dict__.get("tree_")
    if tree is not None and tree.data.shape[1] != model.__dict__.get("n_features_in_"):
        raise wrong_native("a kernel density's tree is over other features")


def check_bisecting(model: Any) -> None:
    """Every centre in the tree of clusters has the model's number of features."""
    features = model.__dict__.get("n_features_in_")
    waiting = [model.__dict__.get("_bisecting_tree")]
    steps = 0
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        steps += 1
        centre = getattr(node, "center", None)
        if steps > 2 * len(model.__dict__.get("cluster_centers_", ())) + 1:
            raise wrong_native("a tree of clusters has a loop")
        if getattr(centre, "shape", None) != (features,):
            raise wrong_native("a tree of clusters has a centre with other features")
        waiting += [getattr(node, "left", None), getattr(node, "right", None)]


RULES = (
    ((NeighborsBase,), check_neighbours),
    ((KernelDensity,), check_density),
    ((BisectingKMeans,), check_bisecting),
)

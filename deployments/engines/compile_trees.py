"""Fitted tree ensembles to ``TreesHead``: node tables read, renumbered, and put side by side."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployments.engines.base import Estimator
from deployments.engines.compile_histograms import compile_histograms
from deployments.engines.compile_steps import NotCompilable
from deployments.engines.labels import plain_labels
from deployments.engines.level_order import NodeTable, constant_tree, level_order
from deployments.engines.steps import Step
from deployments.engines.trees import TreeInput, TreeLink, TreesHead

Compiled = tuple[list[Step], TreesHead]


def compile_trees(estimator: Estimator, width: int) -> Compiled | None:
    """
    Steps before the trees and their head, ``None`` where the estimator is no tree ensemble.

    Raises:
        NotCompilable: It is one, of a form that has no exact table.
    """
    cls = type(estimator)
    if not cls.__module__.startswith("sklearn.") or cls.__name__ not in _COMPILERS:
        return None
    return _COMPILERS[cls.__name__](estimator, width)


def _single(estimator: Estimator, width: int) -> Compiled:
    return [], _averaged(estimator, [estimator], width)


def _forest(estimator: Estimator, width: int) -> Compiled:
    return [], _averaged(estimator, list(estimator.estimators_), width)


def _averaged(estimator: Estimator, trees: list[Estimator], width: int) -> TreesHead:
    labels = _labels(estimator) if hasattr(estimator, "classes_") else ()
    sizes = tuple(part.size for part in labels)
    tables = [_table(tree, sizes) for tree in trees]
    takes_missing = trees[0].__sklearn_tags__().input_tags.allow_nan
    takes_missing = takes_missing and getattr(trees[0], "monotonic_cst", None) is None
    kind: TreeInput = "float32_or_missing" if takes_missing else "float32"
    return TreesHead(
        forest=level_order(tables, width=width), input=kind, link="mean", labels=labels
    )


def _labels(estimator: Estimator) -> tuple[NDArray[Any], ...]:
    classes = estimator.classes_
    parts = classes if isinstance(classes, list) else [classes]
    return tuple(plain_labels(np.asarray(part)) for part in parts)


def _table(tree: Estimator, sizes: tuple[int, ...], scale: float = 1.0) -> NodeTable:
    nodes = tree.tree_
    values = np.asarray(nodes.value, dtype=np.float64)
    # (nodes, outputs, classes of the widest output): keep each output's own classes.
    kept = [values[:, output, :size] for output, size in enumerate(sizes)] or [values[:, :, 0]]
    return NodeTable(
        left=np.asarray(nodes.children_left, dtype=np.int64),
        right=np.asarray(nodes.children_right, dtype=np.int64),
        feature=np.asarray(nodes.feature, dtype=np.int64),
        threshold=np.asarray(nodes.threshold, dtype=np.float64),
        missing_left=np.asarray(nodes.missing_go_to_left, dtype=bool),
        values=scale * np.concatenate(kept, axis=1),
    )


_BOOSTING_LINKS: Mapping[str, TreeLink] = {
    "IdentityLink": "identity",
    "LogitLink": "sigmoid",
    "HalfLogitLink": "double_sigmoid",
    "MultinomialLogit": "softmax",
}


def _boosting(estimator: Estimator, width: int) -> Compiled:
    link = _BOOSTING_LINKS.get(type(estimator._loss.link).__name__)  # noqa: SLF001
    if link is None:
        raise NotCompilable(f"{type(estimator._loss).__name__} has no compiled form")  # noqa: SLF001
    rounds = np.asarray(estimator.estimators_)
    groups = rounds.shape[1]
    tables = [constant_tree(value) for value in _initial(estimator, width, groups)]
    # scikit-learn adds rate times value, round after round, to the initial estimate.
    rate = float(estimator.learning_rate)
    tables += [_table(tree, (), rate) for tree in rounds.reshape(-1)]
    head = TreesHead(
        forest=level_order(tables, width=width),
        input="float32",
        link=link,
        groups=groups,
        labels=_labels(estimator) if hasattr(estimator, "classes_") else (),
        zero_is_second=True,
    )
    return [], head


def _initial(estimator: Estimator, width: int, groups: int) -> list[float]:
    """The estimate that boosting starts from, where it is the same for every row."""
    if isinstance(estimator.init_, str):
        return [0.0] * groups
    if not type(estimator.init_).__name__.startswith("Dummy"):
        raise NotCompilable("boosting from a fitted init estimator has no compiled form")
    row = np.zeros((1, width), dtype=np.float32)
    return [float(value) for value in estimator._raw_predict_init(row)[0]]  # noqa: SLF001


_COMPILERS: Mapping[str, Callable[[Estimator, int], Compiled]] = {
    "DecisionTreeClassifier": _single,
    "DecisionTreeRegressor": _single,
    "ExtraTreeClassifier": _single,
    "ExtraTreeRegressor": _single,
    "RandomForestClassifier": _forest,
    "RandomForestRegressor": _forest,
    "ExtraTreesClassifier": _forest,
    "ExtraTreesRegressor": _forest,
    "GradientBoostingClassifier": _boosting,
    "GradientBoostingRegressor": _boosting,
    "HistGradientBoostingClassifier": compile_histograms,
    "HistGradientBoostingRegressor": compile_histograms,
}

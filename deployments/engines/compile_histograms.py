"""HistGradientBoosting to ``TreesHead``: categorical bitsets become one table."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from deployments.engines.base import Estimator
from deployments.engines.compile_steps import NotCompilable, encode_categories
from deployments.engines.forest import CODES
from deployments.engines.labels import plain_labels
from deployments.engines.level_order import NodeTable, constant_tree, level_order
from deployments.engines.steps import Step
from deployments.engines.trees import TreeLink, TreesHead

_LINKS: Mapping[str, TreeLink] = {
    "IdentityLink": "identity",
    "LogLink": "exp",
    "LogitLink": "sigmoid",
    "MultinomialLogit": "softmax",
}


def compile_histograms(estimator: Estimator, width: int) -> tuple[list[Step], TreesHead]:
    """
    Steps (ordinal encoding of categorical columns) and head of a histogram boosting model.

    Raises:
        NotCompilable: Its categories are not numbers, or its loss has no table.
    """
    link = _LINKS.get(type(estimator._loss.link).__name__)  # noqa: SLF001
    if link is None:
        raise NotCompilable(f"{type(estimator._loss).__name__} has no compiled form")  # noqa: SLF001
    known, places = estimator._bin_mapper.make_known_categories_bitsets()  # noqa: SLF001
    baseline = np.asarray(estimator._baseline_prediction, dtype=np.float64).reshape(-1)  # noqa: SLF001
    tables = [constant_tree(float(value)) for value in baseline]
    for predictors in estimator._predictors:  # noqa: SLF001
        tables += [_table(predictor, known, places) for predictor in predictors]
    labels = (plain_labels(np.asarray(estimator.classes_)),) if _has_classes(estimator) else ()
    head = TreesHead(
        forest=level_order(tables, width=width),
        input="float64",
        link=link,
        groups=baseline.size,
        labels=labels,
    )
    return _encoding(estimator, width), head


def _has_classes(estimator: Estimator) -> bool:
    return hasattr(estimator, "classes_")


def _encoding(estimator: Estimator, width: int) -> list[Step]:
    preprocessor = estimator._preprocessor  # noqa: SLF001
    if preprocessor is None:
        return []
    categories = preprocessor.named_transformers_["encoder"].categories_
    if any(np.asarray(values).dtype.kind not in "iuf" for values in categories):
        raise NotCompilable("categories that are not numbers have no compiled form")
    indices = np.flatnonzero(np.asarray(estimator.is_categorical_))
    return encode_categories(categories, indices, width)


def _table(
    predictor: Estimator, known: NDArray[np.uint32], places: NDArray[np.uint32]
) -> NodeTable:
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    by_code = nodes["is_categorical"].astype(bool) & ~leaf
    rows = np.full(len(nodes), -1, dtype=np.int64)
    rows[by_code] = np.arange(int(by_code.sum()))
    return NodeTable(
        left=np.where(leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(leaf, -1, nodes["right"].astype(np.int64)),
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        values=nodes["value"].astype(np.float64).reshape(-1, 1),
        categorical=_goes_right(predictor, nodes[by_code], known, places),
        category_row=rows if by_code.any() else None,
    )


def _goes_right(
    predictor: Estimator,
    nodes: NDArray[np.void],
    known: NDArray[np.uint32],
    places: NDArray[np.uint32],
) -> NDArray[np.bool_]:
    """Whether each code goes right at each categorical node, (nodes, CODES)."""
    table = np.zeros((len(nodes), CODES), dtype=bool)
    if not len(nodes):
        return table
    is_left = _bits(predictor.raw_left_cat_bitsets)[nodes["bitset_idx"]]
    is_known = _bits(known)[places[nodes["feature_idx"]]]
    missing_right = ~nodes["missing_go_to_left"].astype(bool)
    table[:, :-1] = np.where(is_known, True, missing_right[:, None]) & ~is_left
    table[:, -1] = missing_right
    return table


def _bits(sets: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """(sets, 8) words of 32 bits as (sets, 256) truth values."""
    words = np.ascontiguousarray(sets, dtype="<u4").view(np.uint8)
    return np.unpackbits(words, axis=1, bitorder="little").astype(bool)

"""Trees of any numbering to one ``Forest`` in level order, siblings adjacent, roots first."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deployments.engines.base import Matrix
from deployments.engines.compile_steps import NotCompilable
from deployments.engines.forest import CODES, MAX_DEPTH, Forest, Nodes


def _no_categories() -> NDArray[np.bool_]:
    return np.zeros((0, CODES), dtype=bool)


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeTable:
    """One tree as the library keeps it: node 0 is the root, a left child of -1 makes a leaf."""

    left: Nodes
    right: Nodes
    feature: Nodes
    threshold: NDArray[np.float64]
    missing_left: NDArray[np.bool_]
    #: (nodes, outputs)
    values: Matrix
    #: (categorical nodes, CODES): whether a code goes right.
    categorical: NDArray[np.bool_] = field(default_factory=_no_categories)
    #: Row of ``categorical`` by node, -1 for none; ``None`` without such nodes.
    category_row: Nodes | None = None


def constant_tree(value: float) -> NodeTable:
    """A tree of one leaf: how a constant takes part in a sum of trees."""
    return NodeTable(
        left=np.array([-1]),
        right=np.array([-1]),
        feature=np.array([0]),
        threshold=np.array([0.0]),
        missing_left=np.array([False]),
        values=np.array([[value]]),
    )


def level_order(tables: Sequence[NodeTable], *, width: int) -> Forest:
    """
    The trees as one forest over a matrix of ``width`` columns.

    Raises:
        NotCompilable: A tree is deeper than the walk is good for.
        ArtifactCorrupt: A tree points outside itself.
    """
    starts = np.cumsum([0, *(len(table.left) for table in tables)])
    old_left = _joined([t.left for t in tables], starts)
    old_right = _joined([t.right for t in tables], starts)
    order, left, depth = _levels(starts[:-1].astype(np.int64), old_left, old_right)
    split = left >= 0
    forest = Forest(
        trees=len(tables),
        depth=depth,
        feature=np.where(split, np.concatenate([t.feature for t in tables])[order], 0),
        threshold=np.where(split, np.concatenate([t.threshold for t in tables])[order], np.inf),
        left=np.where(split, left, np.arange(order.size)),
        missing_right=split & ~np.concatenate([t.missing_left for t in tables])[order],
        values=np.ascontiguousarray(np.concatenate([t.values for t in tables])[order]),
        categorical=np.concatenate([t.categorical for t in tables]),
        category_row=_category_rows(tables, order, split),
    )
    forest.check(width)
    return forest


def _joined(children: Sequence[Nodes], starts: NDArray[np.intp]) -> Nodes:
    shifted = [
        np.where(part >= 0, part + start, -1)
        for part, start in zip(children, starts[:-1], strict=True)
    ]
    return np.concatenate(shifted).astype(np.int64)


def _levels(roots: Nodes, left: Nodes, right: Nodes) -> tuple[Nodes, Nodes, int]:
    """Old index and new left child (or -1) of each new node, and the levels below the roots."""
    level, levels, new_left = roots, [roots], []
    size = roots.size
    while True:
        inner = left[level] >= 0
        first = np.full(level.size, -1, dtype=np.int64)
        first[inner] = size + 2 * np.arange(int(inner.sum()))
        new_left.append(first)
        if not inner.any():
            return np.concatenate(levels), np.concatenate(new_left), len(levels) - 1
        level = np.stack([left[level[inner]], right[level[inner]]], axis=1).reshape(-1)
        size += level.size
        levels.append(level)
        if len(levels) > MAX_DEPTH or size > left.size:
            raise NotCompilable(f"a tree is deeper than {MAX_DEPTH} levels")


def _category_rows(
    tables: Sequence[NodeTable], order: Nodes, split: NDArray[np.bool_]
) -> NDArray[np.int64]:
    sizes = [len(table.categorical) for table in tables]
    if not any(sizes):
        return np.zeros(0, dtype=np.int64)
    bases = np.cumsum([0, *sizes])[:-1]
    rows = [
        np.full(len(table.left), -1, dtype=np.int64)
        if table.category_row is None
        else np.where(table.category_row >= 0, table.category_row + base, -1)
        for table, base in zip(tables, bases, strict=True)
    ]
    return np.where(split, np.concatenate(rows)[order], -1)

"""
All trees of an ensemble as one table, walked level by level for all trees and rows at once.

Children lie side by side (right = left + 1) and leaves point at themselves behind an infinite
threshold, so one level is a handful of array operations and no branch.  Every index is checked
when the table is built, and numpy checks it again when it is used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cluster.errors import ArtifactCorrupt
from deployments.engines.base import Matrix

#: Nodes looked at together; more than this and the working set leaves the cache.
CHUNK_NODES = 65_536
#: For one row through so few trees, a plain loop beats array operations.
FEW_TREES = 8
#: A deeper tree than this is refused: the walk's time grows with depth.
MAX_DEPTH = 4096
#: Codes of a categorical value: 0 to 255, and one for missing or out of range.
CODES = 257
_MISSING_CODE = 256

Nodes = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Forest:
    """Node tables, all of one length but ``categorical``; roots come first."""

    trees: int
    depth: int
    feature: Nodes
    #: A row goes left where its value is at most this; +inf on leaves.
    threshold: NDArray[np.float64]
    #: Left child; the node itself on leaves.
    left: Nodes
    #: Where a missing value goes right; false on leaves.
    missing_right: NDArray[np.bool_]
    #: (nodes, outputs): what a row that ends there is given.
    values: Matrix
    #: (categorical nodes, CODES): whether a code goes right; empty without such nodes.
    categorical: NDArray[np.bool_]
    #: Row of ``categorical``, -1 on nodes with a threshold; empty without such nodes.
    category_row: Nodes

    def leaves(self, matrix: Matrix, *, has_missing: bool) -> Nodes:
        """Node where each row ends in each tree, (trees, rows)."""
        rows, width = matrix.shape
        flat = matrix.reshape(-1)
        offsets = np.arange(rows, dtype=np.int64) * width
        start = np.repeat(np.arange(self.trees, dtype=np.int64), rows).reshape(self.trees, rows)
        if self.category_row.size:
            return self._walk_categories(flat, offsets, start)
        if has_missing:
            return self._walk_missing(flat, offsets, start)
        return self._walk(flat, offsets, start)

    def _walk(self, flat: Matrix, offsets: Nodes, node: Nodes) -> Nodes:
        if offsets.size == 1 and self.trees <= FEW_TREES:
            return self._walk_few(flat)
        feature, threshold, left = self.feature, self.threshold, self.left
        if offsets.size == 1:
            node = node[:, 0]
            for _ in range(self.depth):
                right = flat.take(feature.take(node)) > threshold.take(node)
                node = left.take(node) + right
            return node.reshape(-1, 1)
        for _ in range(self.depth):
            value = flat.take(feature.take(node) + offsets)
            node = left.take(node) + (value > threshold.take(node))
        return node

    def _walk_few(self, flat: Matrix) -> Nodes:
        feature, threshold = self.feature.data, self.threshold.data
        left, row = self.left.data, flat.tolist()
        ends = []
        for root in range(self.trees):
            node = root
            # Children follow their parents, so that a row cannot walk for ever.
            while left[node] != node:
                node = left[node] + (row[feature[node]] > threshold[node])
            ends.append(node)
        return np.array(ends, dtype=np.int64).reshape(-1, 1)

    def _walk_missing(self, flat: Matrix, offsets: Nodes, node: Nodes) -> Nodes:
        for _ in range(self.depth):
            value = flat.take(self.feature.take(node) + offsets)
            right = value > self.threshold.take(node)
            right |= np.isnan(value) & self.missing_right.take(node)
            node = self.left.take(node) + right
        return node

    def _walk_categories(self, flat: Matrix, offsets: Nodes, node: Nodes) -> Nodes:
        # scikit-learn treats a code that is negative or too large as missing.
        known = (flat >= 0) & (flat < _MISSING_CODE)
        codes = np.where(known, flat, _MISSING_CODE).astype(np.int64)
        for _ in range(self.depth):
            place = self.feature.take(node) + offsets
            value = flat.take(place)
            right = value > self.threshold.take(node)
            right |= np.isnan(value) & self.missing_right.take(node)
            row = self.category_row.take(node)
            # Row -1 of the table is some other node's; the choice discards what it says.
            by_code = self.categorical[row, codes.take(place)]
            node = self.left.take(node) + np.where(row >= 0, by_code, right)
        return node

    def sums(self, matrix: Matrix, *, groups: int, has_missing: bool) -> Matrix:
        """
        Sum of leaf values in the order of the trees, (rows, groups * outputs).

        Args:
            matrix: Finite but for NaN where missing values are taken.
            groups: Tree t adds to group t modulo ``groups`` (one per class when boosting).
            has_missing: Whether the matrix may hold NaN.
        """
        chunk = max(1, CHUNK_NODES // self.trees)
        if len(matrix) <= chunk:
            return self._sums(matrix, groups=groups, has_missing=has_missing)
        parts = [matrix[start : start + chunk] for start in range(0, len(matrix), chunk)]
        return np.concatenate(
            [self._sums(p, groups=groups, has_missing=has_missing) for p in parts]
        )

    def _sums(self, matrix: Matrix, *, groups: int, has_missing: bool) -> Matrix:
        leaves = self.leaves(matrix, has_missing=has_missing)
        picked = self.values.take(leaves, axis=0)
        rows, outputs = len(matrix), self.values.shape[1]
        by_round = picked.reshape(-1, groups * rows * outputs)
        # numpy adds pairwise along a contiguous axis; scikit-learn adds tree after tree.
        total = by_round.cumsum(axis=0)[-1] if by_round.shape[1] == 1 else by_round.sum(axis=0)
        if groups == 1:
            return np.asarray(total.reshape(rows, outputs))
        return np.ascontiguousarray(total.reshape(groups, rows).T)

    @property
    def memory_bytes(self) -> int:
        """Bytes of all tables."""
        return sum(array.nbytes for array in self.to_arrays().values())

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The tables by name."""
        return {name: getattr(self, name) for name in _TABLES}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], *, trees: object, depth: object, width: int
    ) -> Self:
        """
        A forest whose every index is in range for a matrix of ``width`` columns.

        Raises:
            ArtifactCorrupt: A table is missing, of another dtype, or points outside.
        """
        if type(trees) is not int or type(depth) is not int:
            raise ArtifactCorrupt("the compiled forest does not say how many trees it has")
        for name, dtype in _TABLES.items():
            if name not in arrays or arrays[name].dtype != dtype:
                raise ArtifactCorrupt(f"the compiled forest has no table {name!r} of {dtype}")
        forest = cls(trees=trees, depth=depth, **{name: arrays[name] for name in _TABLES})
        forest.check(width)
        return forest

    def check(self, width: int) -> None:
        """
        Refuse tables that do not fit each other or a matrix of ``width`` columns.

        Raises:
            ArtifactCorrupt: With the first thing that does not hold.
        """
        count = self.feature.size
        faults = {
            "tables of different lengths": not self._is_aligned(),
            "no tree": not 1 <= self.trees <= count,
            "a depth out of range": not 0 <= self.depth <= MAX_DEPTH,
        }
        _refuse(faults)
        node = np.arange(count)
        split = self.left != node
        child = self.left[split]
        _refuse(
            {
                "a feature outside its input": _outside(self.feature, width),
                "a child outside the forest": _outside(child, count - 1) and child.size > 0,
                "a child before its parent": bool((child <= node[split]).any()),
                "a child that is a root": bool((child < self.trees).any()),
                "a leaf that is not final": not self._has_final_leaves(~split),
            }
        )

    def _is_aligned(self) -> bool:
        count = self.feature.size
        flat = (self.feature, self.threshold, self.left, self.missing_right)
        lengths = all(array.shape == (count,) for array in flat)
        values = self.values.ndim == 2 and len(self.values) == count  # noqa: PLR2004
        return lengths and values and self.values.shape[1] > 0 and self._has_valid_categories()

    def _has_valid_categories(self) -> bool:
        if not self.category_row.size:
            return bool(self.category_row.ndim == 1)
        rows = len(self.categorical)
        shapes = self.category_row.shape == self.feature.shape and rows > 0
        return (
            shapes
            and self.categorical.shape == (rows, CODES)
            and not _outside(self.category_row + 1, rows + 1)
        )

    def _has_final_leaves(self, leaf: NDArray[np.bool_]) -> bool:
        endless = bool(np.isposinf(self.threshold[leaf]).all())
        still = not self.missing_right[leaf].any()
        plain = not self.category_row.size or bool((self.category_row[leaf] == -1).all())
        return endless and still and plain


_TABLES: dict[str, Any] = {
    "feature": np.int64,
    "threshold": np.float64,
    "left": np.int64,
    "missing_right": np.bool_,
    "values": np.float64,
    "categorical": np.bool_,
    "category_row": np.int64,
}


def _outside(indices: Nodes, stop: int) -> bool:
    return bool(((indices < 0) | (indices >= stop)).any())


def _refuse(faults: Mapping[str, bool]) -> None:
    for fault, holds in faults.items():
        if holds:
            raise ArtifactCorrupt(f"the compiled forest has {fault}")

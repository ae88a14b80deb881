"""
Rows on which a compiled model could differ from its original, if it differed anywhere.

Thresholds and one unit in the last place beside them, in the precision of the model's input;
magnitudes of the thresholds; missing values where they are taken; and the canary's own rows.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cluster.contracts import Signature
from deployments.engines.base import Matrix
from deployments.engines.compiled import CompiledModel
from deployments.engines.steps import Step
from deployments.engines.trees import TreesHead

#: Rows at thresholds; each costs a row of the slow original.
THRESHOLD_ROWS = 512
_MAGNITUDE_ROWS = 64
#: Powers of ten that linear models are tried at.
_POWERS = (-6, -3, 0, 3, 6, 12)


def parity_rows(model: CompiledModel, signature: Signature, probe: Matrix, seed: int = 0) -> Matrix:
    """
    Rows that the signature allows, the probe's first.

    Args:
        model: Whose thresholds to aim at.
        signature: Which columns are free numbers, and which take null.
        probe: (rows, features) canary rows.
        seed: Of the random choices.
    """
    random = np.random.default_rng(seed)
    extra = _threshold_rows(model, random) if isinstance(model.head, TreesHead) else None
    if extra is None:
        powers = 10.0 ** random.choice(_POWERS, size=(_MAGNITUDE_ROWS, 1))
        extra = random.normal(size=(_MAGNITUDE_ROWS, model.width)) * powers
    free = np.array([f.type == "number" and f.categories is None for f in signature.features])
    # Encoded columns keep values that their encoder knows.
    borrowed = probe[random.integers(len(probe), size=len(extra))]
    extra = np.where(free, extra, borrowed)
    nullable = np.array([feature.nullable for feature in signature.features])
    absent = (random.random(extra.shape) < 0.2) & nullable  # noqa: PLR2004
    absent &= (np.arange(len(extra)) % 5 == 0)[:, None]
    extra = np.where(absent, np.nan, extra)
    return np.ascontiguousarray(np.concatenate([probe, extra]))


def _threshold_rows(model: CompiledModel, random: np.random.Generator) -> Matrix | None:
    assert isinstance(model.head, TreesHead)
    forest = model.head.forest
    split = np.flatnonzero(forest.left != np.arange(forest.left.size))
    if not split.size:
        return None
    inner = int(forest.feature.max()) + 1
    # Nodes are in level order: half the picks are near the roots, which every row meets.
    near = split[: max(1, split.size // 8)]
    picks = np.concatenate([random.choice(part, THRESHOLD_ROWS // 2) for part in (near, split)])
    columns = []
    for feature in range(inner):
        own = forest.threshold[split[forest.feature[split] == feature]]
        # A split on missing values alone has an infinite threshold, which no row may hold.
        own = own[np.isfinite(own)]
        source = own if own.size else np.zeros(1)
        columns.append(random.choice(source, THRESHOLD_ROWS))
    rows = np.stack(columns, axis=1)
    aimed = np.isfinite(forest.threshold[picks])
    rows[np.flatnonzero(aimed), forest.feature[picks][aimed]] = forest.threshold[picks][aimed]
    is_single = model.head.input != "float64"
    magnitudes = random.normal(size=(_MAGNITUDE_ROWS, inner)) * np.abs(rows).mean(axis=0)
    rows = np.concatenate([_nudged(rows, random, is_single=is_single), magnitudes])
    return _before_steps(rows, model.steps, model.width, random)


def _nudged(rows: Matrix, random: np.random.Generator, *, is_single: bool) -> Matrix:
    """Each value as it is, or one unit in the last place up or down."""
    way = random.integers(-1, 2, size=rows.shape)
    nudged = np.where(way == 0, rows, np.nextafter(rows, way * np.inf))
    if not is_single:
        return nudged
    single = rows.astype(np.float32)
    moved = np.nextafter(single, (way * np.inf).astype(np.float32), dtype=np.float32)
    is_coarse = random.random(rows.shape) < 0.5  # noqa: PLR2004
    return np.where(is_coarse & (way != 0), moved.astype(np.float64), nudged)


def _before_steps(
    rows: Matrix, steps: Sequence[Step], width: int, random: np.random.Generator
) -> Matrix:
    """Rows in the caller's columns whose prepared form is about ``rows``."""
    widths = [width]
    for step in steps:
        widths.append(step.width_after(widths[-1]))
    missing = widths[-1] - rows.shape[1]
    rows = np.concatenate([rows, random.normal(size=(len(rows), missing))], axis=1)
    for step, before in zip(reversed(steps), reversed(widths[:-1]), strict=True):
        rows = _undone(rows, step, before, random)
    return rows


def _undone(rows: Matrix, step: Step, width: int, random: np.random.Generator) -> Matrix:
    if step.operation == "subtract":
        return rows + step.arrays[0]
    if step.operation == "add":
        return rows - step.arrays[0]
    if step.operation == "multiply":
        return rows / np.where(step.arrays[0] == 0, 1.0, step.arrays[0])
    if step.operation == "divide":
        return rows * step.arrays[0]
    if step.operation == "encode":
        return _decoded(rows, step.arrays[0], step.arrays[1])
    if step.operation == "pick":
        full = random.normal(size=(len(rows), width))
        full[:, step.arrays[0]] = rows
        return full
    return rows


def _decoded(rows: Matrix, starts: NDArray[np.int64], categories: Matrix) -> Matrix:
    decoded = rows.copy()
    for column in range(starts.size - 1):
        known = categories[starts[column] : starts[column + 1]]
        codes = np.clip(np.nan_to_num(rows[:, column]), 0, known.size - 1).astype(np.intp)
        decoded[:, column] = known[codes]
    return decoded

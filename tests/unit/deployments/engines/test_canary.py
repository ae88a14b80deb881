"""Rows that a signature allows, the same ones every time."""

import math
from typing import Any

import numpy as np

from cluster.contracts import Feature, Signature
from deployments.engines.canary import canary_batch


def signature(container: Any, *features: Feature) -> Signature:
    return Signature(
        kind="text" if container == "documents" else "table",
        container=container,
        features=features,
        methods=("predict",),
        outputs={},
        classes=None,
        sklearn_version="",
    )


NUMBER = Feature(name="n", type="number", nullable=False)


def test_numeric_rows_start_with_the_extremes() -> None:
    matrix = canary_batch(signature("matrix", NUMBER, NUMBER)).matrix

    assert matrix is not None
    assert matrix.shape == (64, 2)
    assert matrix[:5, 0].tolist() == [0.0, 1.0, -1.0, 1e30, -1e30]
    assert np.isfinite(matrix).all()


def test_nulls_appear_where_they_are_allowed_and_nowhere_else() -> None:
    nullable = Feature(name="m", type="number", nullable=True)
    matrix = canary_batch(signature("matrix", NUMBER, nullable)).matrix

    assert matrix is not None
    assert not np.isnan(matrix[:, 0]).any()
    assert 1 <= np.isnan(matrix[:, 1]).sum() < 32


def test_categories_are_known_ones() -> None:
    feature = Feature(
        name="c", type="string", nullable=False, categories=("a", "b"), dtype="object"
    )
    columns = canary_batch(signature("frame", feature)).columns

    assert columns is not None
    assert set(columns[0]) == {"a", "b"}


def test_every_type_has_its_dtype() -> None:
    features = (
        Feature(name="i", type="integer", nullable=False, dtype="int64"),
        Feature(name="b", type="boolean", nullable=False, dtype="bool"),
        Feature(name="t", type="datetime", nullable=True, dtype="datetime64[us]", missing="nat"),
        Feature(name="s", type="string", nullable=True, dtype="object", missing="none"),
        Feature(name="u", type="unknown", nullable=True, dtype="object", missing="none"),
    )
    columns = canary_batch(signature("frame", *features), rows=20).columns

    assert columns is not None
    kinds = [column.dtype.str for column in columns]
    assert kinds == ["<i8", "|b1", "<M8[us]", "|O", "|O"]
    assert columns[3][5] is None
    assert np.isnat(columns[2][5])


def test_documents_are_words() -> None:
    text = Feature(name="text", type="string", nullable=False, dtype="object")
    columns = canary_batch(signature("documents", text), rows=5).columns

    assert columns is not None
    assert all(isinstance(document, str) and " " in document for document in columns[0])


def test_a_seed_fixes_the_rows() -> None:
    wanted = signature("matrix", NUMBER)
    one, same, other = (canary_batch(wanted, seed=seed).matrix for seed in (1, 1, 2))

    assert one is not None
    assert same is not None
    assert other is not None
    assert one.tolist() == same.tolist()
    assert one.tolist() != other.tolist()
    assert math.isfinite(one.sum())

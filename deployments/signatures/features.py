"""From evidence to a ``Feature``, and which columns behave alike."""

from collections.abc import Sequence

from cluster.contracts import Feature
from deployments.signatures.evidence import ColumnEvidence


def draft_feature(name: str, evidence: ColumnEvidence, *, is_frame: bool) -> Feature:
    """
    The feature as far as attributes tell; whether it takes null is found by trying.

    Args:
        name: Its column name.
        evidence: What the estimator's parts say.
        is_frame: Whether the estimator was fitted on a DataFrame, where a column that no part
            reads may hold anything.
    """
    marker = evidence.marker
    known = evidence.categories
    if known is not None and not evidence.is_string:
        missing = marker or ("nat" if known.type == "datetime" else "nan")
        return Feature(
            name=name,
            type=known.type,
            nullable=False,
            categories=known.values,
            dtype=known.dtype,
            missing=missing,
        )
    if evidence.is_string:
        values = known.values if known is not None and known.type == "string" else None
        return Feature(
            name=name,
            type="string",
            nullable=False,
            categories=values,
            dtype="object",
            missing=marker or "nan",
        )
    if is_frame and not evidence.readers:
        return Feature(name=name, type="unknown", nullable=True, dtype="object", missing="none")
    dtype = "object" if marker in {"none", "na"} else "float64"
    return Feature(name=name, type="number", nullable=False, dtype=dtype, missing=marker or "nan")


def groups_of(evidence: Sequence[ColumnEvidence], indices: Sequence[int]) -> list[list[int]]:
    """
    Indices in groups whose columns are read by the same parts in the same way.

    Trying one column of a group tells of all of them.
    """
    groups: dict[object, list[int]] = {}
    for index in indices:
        column = evidence[index]
        kind = None if column.categories is None else (column.categories.type, column.marker)
        groups.setdefault((tuple(column.readers), kind, column.marker), []).append(index)
    return list(groups.values())

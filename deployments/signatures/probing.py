"""Trying single rows on an estimator, to learn what its attributes do not tell."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cluster.contracts import Batch, Feature, Method, Signature
from cluster.errors import PlatformError
from deployments.engines.base import Estimator
from deployments.engines.canary import filled
from deployments.engines.native import call_estimator

#: A date that every unit of datetime64 holds.
_DAY = np.datetime64("2020-01-01", "s")
#: What a column of each type is tried with, in turn; ones come before zeros since some
#: transformers (Box-Cox) take positive numbers alone.
_TRIALS: dict[str, tuple[Any, ...]] = {
    "number": (1.0, 0.5, 0.0),
    "integer": (1, 2, 0),
    "string": ("a", "model", ""),
    "boolean": (True, False, True),
    "datetime": (_DAY, _DAY, _DAY),
    "unknown": (1.0, 0.5, 0.0),
}
TRIALS = 3


class Prober:
    """Calls the first method of an estimator with rows made of typical values."""

    def __init__(self, estimator: Estimator, method: Method) -> None:
        self._estimator = estimator
        self._method = method
        #: What the library said to the first refused row, for the owner's log.
        self.library_text = ""

    def accepts(self, signature: Signature, batch: Batch) -> bool:
        """Whether the estimator answers these rows."""
        try:
            call_estimator(self._estimator, signature, self._method, batch)
        except PlatformError as exc:
            said = str(exc.context.get("library_text", exc))
            self.library_text = self.library_text or said
            return False
        return True

    def find_typical(self, signature: Signature) -> Batch | None:
        """A batch of one ordinary row that the estimator answers, if one is found."""
        for trial in range(TRIALS):
            batch = typical_batch(signature, trial)
            if self.accepts(signature, batch):
                return batch
        return None

    def nullable(
        self, signature: Signature, base: Batch, groups: Sequence[Sequence[int]]
    ) -> frozenset[int]:
        """Indices of the features that may be null; the features of a group are tried together."""
        found: set[int] = set()
        everything = [index for group in groups for index in group]
        if self._takes_nulls(signature, base, everything):
            return frozenset(everything)
        if len(groups) > 1:
            for group in groups:
                if self._takes_nulls(signature, base, group):
                    found.update(group)
        return frozenset(found)

    def _takes_nulls(self, signature: Signature, base: Batch, indices: Sequence[int]) -> bool:
        chosen = set(indices)
        values = [[None] if index in chosen else None for index in range(len(signature.features))]
        return self.accepts(signature, _replaced(signature, base, values))


def typical_batch(signature: Signature, trial: int = 0) -> Batch:
    """One row of ordinary values; known categories where others are refused."""
    if signature.container == "documents":
        return Batch(rows=1, columns=(filled(signature.features[0], ["a good model"]),))
    values = [_typical(feature, trial) for feature in signature.features]
    return _batch(
        signature, [filled(f, [v]) for f, v in zip(signature.features, values, strict=True)]
    )


def typical_like(signature: Signature, row: Batch) -> Batch:
    """The row of one batch in the layout of another signature over the same features."""
    if signature.container != "matrix" or row.columns is None:
        return row
    return _batch(signature, list(row.columns))


def _typical(feature: Feature, trial: int) -> Any:
    known = [value for value in feature.categories or () if value is not None]
    return known[trial % len(known)] if known else _TRIALS[feature.type][trial]


def _replaced(signature: Signature, base: Batch, values: Sequence[list[None] | None]) -> Batch:
    columns = []
    for index, (feature, value) in enumerate(zip(signature.features, values, strict=True)):
        own = base.columns[index] if base.columns is not None else None
        if value is not None:
            columns.append(filled(widened(feature), value))
        elif own is not None:
            columns.append(own)
        else:
            columns.append(np.asarray(base.matrix)[:, index])
    return _batch(signature, columns)


def _batch(signature: Signature, columns: list[Any]) -> Batch:
    if signature.container == "matrix":
        matrix = np.stack([column.astype(np.float64) for column in columns], axis=1)
        return Batch(rows=1, matrix=np.ascontiguousarray(matrix))
    return Batch(rows=1, columns=tuple(columns))


def widened(feature: Feature) -> Feature:
    """The feature with a dtype that holds its missing marker beside its values."""
    if feature.dtype == "int64":
        return replace(feature, dtype="float64" if feature.missing == "nan" else "object")
    return replace(feature, dtype="object") if feature.dtype == "bool" else feature

"""
JSON instances to a ``Batch``, refusing whatever could change an answer in silence.

One pass over plain rows of numbers costs about a microsecond a row; anything else is decoded
column by column, and only a column at fault is looked at value by value.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.contracts import Batch, Bounds, Signature
from deployments.signatures.column_types import column_of, matrix_column_of
from deployments.signatures.faults import Faults, Locator
from deployments.signatures.numeric_columns import EXACT_INTEGER, NUMBERS, are_exact
from deployments.signatures.rows import Row, RowShape

NO_BOUNDS: Mapping[str, Bounds] = {}
#: Parsers give integers from here on as floats; see ``decode_instances``.
_PARSED_AS_FLOAT = 2.0**64
_MAX_DECODERS = 4096


def decode_instances(
    signature: Signature,
    instances: object,
    *,
    bounds: Mapping[str, Bounds] = NO_BOUNDS,
    max_rows: int,
    path: str = "/instances",
    reparse: Callable[[], object] | None = None,
) -> Batch:
    """
    The rows of ``instances`` in the model's column order, ready for its estimator.

    Args:
        signature: What the version takes.
        instances: JSON value: list of lists, list of records, or documents for a text model.
        bounds: What the owner allows, by feature name.
        max_rows: Most rows of one request.
        path: JSON Pointer of ``instances`` in the body, for the faults.
        reparse: Gives ``instances`` again with integers exact.  orjson reads an integer of 2**64
            or more as a float; where such a float turns up, this tells which it was.

    Raises:
        InvalidInput: With up to 20 faults, each a JSON Pointer, a code and a sentence.
    """
    decoder = decoder_of(signature, bounds)
    return decoder.decode(instances, max_rows=max_rows, path=path, reparse=reparse)


class Decoder:
    """Decodes instances for one signature under one set of bounds; keep it, it is compiled."""

    def __init__(self, signature: Signature, bounds: Mapping[str, Bounds] = NO_BOUNDS) -> None:
        self.signature = signature
        self.bounds = bounds
        self.shape = RowShape(signature)
        self.is_matrix = signature.container == "matrix"
        pick = matrix_column_of if self.is_matrix else column_of
        self.columns = [pick(feature, bounds.get(feature.name)) for feature in signature.features]
        self._is_plain = self.is_matrix and all(
            feature.type in {"number", "unknown"}
            and feature.categories is None
            and feature.name not in bounds
            for feature in signature.features
        )

    def decode(
        self,
        instances: object,
        *,
        max_rows: int,
        path: str,
        reparse: Callable[[], object] | None = None,
    ) -> Batch:
        """See ``decode_instances``."""
        rows = self.shape.count(instances, max_rows, path)
        if self._is_plain and (matrix := self._plain(rows)) is not None:
            return Batch(rows=len(rows), matrix=matrix)
        aligned, locate = self.shape.align(rows, path)
        batch = self.decode_columns(list(zip(*aligned, strict=True)), locate)
        if reparse is not None and _may_hide_integers(batch):
            return self.decode(reparse(), max_rows=max_rows, path=path)
        return batch

    def decode_rows(self, rows: Sequence[Row], locate: Locator) -> Batch:
        """A batch from rows that are known to be as wide as the model; raises InvalidInput."""
        if self._is_plain and (matrix := plain_matrix(rows)) is not None:
            return Batch(rows=len(rows), matrix=matrix)
        return self.decode_columns(list(zip(*rows, strict=True)), locate)

    def find_matrix(self, values: NDArray[Any]) -> Batch | None:
        """
        A batch around a numeric array, shape (rows, features); float64 is not copied.

        NaN stands for null.  ``None`` where the array needs a look value by value.
        """
        if not self._is_plain or values.dtype.kind not in "fiub":
            return None
        low, high = values.min(), values.max()
        if (
            values.dtype.kind in "iu"
            and not -EXACT_INTEGER <= int(low) <= int(high) <= EXACT_INTEGER
        ):
            return None
        if not (np.isfinite(low) and np.isfinite(high)):
            takes_missing = all(feature.nullable for feature in self.signature.features)
            if not takes_missing or np.isinf(values).any():
                return None
        return Batch(rows=len(values), matrix=np.ascontiguousarray(values, dtype=np.float64))

    def decode_columns(self, columns: Sequence[Sequence[object]], locate: Locator) -> Batch:
        """
        A batch from one sequence of JSON values a feature, all of one length.

        Raises:
            InvalidInput: Naming the values at fault by ``locate``.
        """
        faults = Faults(locate)
        arrays = [
            array
            for index, (column, values) in enumerate(zip(self.columns, columns, strict=True))
            if (array := column.decode(values, faults, index)) is not None
        ]
        faults.raise_any()
        rows = len(columns[0])
        if not self.is_matrix:
            return Batch(rows=rows, columns=tuple(arrays))
        return Batch(rows=rows, matrix=np.ascontiguousarray(np.column_stack(arrays), np.float64))

    def _plain(self, rows: list[Any]) -> NDArray[np.float64] | None:
        if len(rows) == 1:
            return self._plain_row(rows)
        if isinstance(rows[0], dict):
            if set(map(type, rows)) != {dict} or (picked := self.shape.from_records(rows)) is None:
                return None
            return plain_matrix(picked)
        if set(map(type, rows)) != {list} or set(map(len, rows)) != {self.shape.width}:
            return None
        return plain_matrix(rows)

    def _plain_row(self, rows: list[Any]) -> NDArray[np.float64] | None:
        row = rows[0]
        if type(row) is dict:
            picked = self.shape.from_records(rows)
            if picked is None:
                return None
            row = picked[0]
        elif type(row) is not list or len(row) != self.shape.width:
            return None
        if NUMBERS.issuperset(map(type, row)) and are_exact(row):
            return np.array([row], dtype=np.float64)
        return None


def plain_matrix(rows: Sequence[Row]) -> NDArray[np.float64] | None:
    """
    Rows of equal length as float64, shape (rows, features).

    Returns:
        ``None`` where a value is no number, not finite or beyond ±2**53, hence needs a closer look.
    """
    if not NUMBERS.issuperset(map(type, chain.from_iterable(rows))):
        return None
    try:
        matrix = np.array(rows, dtype=np.float64)
    except OverflowError:
        return None
    # An integer just beyond 2**53 rounds to it, so the bound itself is looked at too.
    if matrix.min() > -EXACT_INTEGER and matrix.max() < EXACT_INTEGER:
        return matrix
    return None


_decoders: dict[int, Decoder] = {}


def decoder_of(signature: Signature, bounds: Mapping[str, Bounds] = NO_BOUNDS) -> Decoder:
    """The compiled decoder of ``signature``, kept while the same object is asked for."""
    # By identity: a signature holds a dict, so it has no hash, and equality would cost more
    # than decoding.  The decoder keeps the signature alive, hence its id stays its own.
    found = _decoders.get(id(signature))
    if found is not None and found.signature is signature and found.bounds == bounds:
        return found
    if len(_decoders) >= _MAX_DECODERS:
        _decoders.clear()
    decoder = _decoders[id(signature)] = Decoder(signature, bounds)
    return decoder


def _may_hide_integers(batch: Batch) -> bool:
    arrays = [batch.matrix] if batch.matrix is not None else (batch.columns or ())
    for array in arrays:
        if array.dtype.kind == "f" and np.abs(array).max(initial=0.0) >= _PARSED_AS_FLOAT:
            return True
        if array.dtype.kind == "O" and any(
            isinstance(value, float) and abs(value) >= _PARSED_AS_FLOAT for value in array
        ):
            return True
    return False

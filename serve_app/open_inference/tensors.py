"""Tensors of the Open Inference Protocol: bytes or JSON on one side, numpy or lists here."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.errors import InvalidInput
from deployments.signatures.faults import refuse

#: Little-endian, as on the wire.
NUMERIC: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
DATATYPES = frozenset(NUMERIC) | {"BYTES"}
_MOST_DIMENSIONS = 2
_COPIED_BYTES = 1024 * 1024
_LENGTH = struct.Struct("<I")
#: JSON types that a datatype's data may have, by numpy kind; null is a missing value.
_JSON_TYPES: dict[str, frozenset[type]] = {
    "b": frozenset({bool, type(None)}),
    "u": frozenset({int, type(None)}),
    "i": frozenset({int, type(None)}),
    "f": frozenset({int, float, type(None)}),
    "S": frozenset({str, type(None)}),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Tensor:
    """One input: its description, and either JSON ``data`` or ``raw`` bytes."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    #: JSON Pointer of the tensor in the request.
    path: str
    data: list[Any] | None = None
    raw: memoryview | None = None

    @property
    def rows(self) -> int:
        """Size of the first axis."""
        return self.shape[0]

    @property
    def width(self) -> int:
        """Values of a row."""
        return self.shape[1] if len(self.shape) == _MOST_DIMENSIONS else 1

    @property
    def is_flat(self) -> bool:
        """Whether the data is one list of values, or raw."""
        return self.data is None or not (self.data and isinstance(self.data[0], list))

    def find_array(self) -> NDArray[Any] | None:
        """The raw numbers, shape (rows, width), without a copy; ``None`` for BYTES and JSON."""
        if self.raw is None or self.datatype == "BYTES":
            return None
        dtype = NUMERIC[self.datatype]
        wanted = self.rows * self.width * dtype.itemsize
        if len(self.raw) != wanted:
            raise self.refused(f"has {len(self.raw)} bytes, its shape and datatype need {wanted}")
        array = np.frombuffer(self.raw, dtype=dtype).reshape(self.rows, self.width)
        # Tensors lie where the JSON ends, on any byte: worth a copy while that costs nothing.
        return array if array.flags.aligned or wanted > _COPIED_BYTES else array.copy()

    def values(self) -> list[Any]:
        """All values in row-major order, as JSON would have them; NaN is null."""
        if self.data is not None:
            return self._json_values(self.data)
        array = self.find_array()
        if array is None:
            return self._texts(self.raw or memoryview(b""))
        flat: list[Any] = array.ravel().tolist()
        if array.dtype.kind == "f":
            return [None if math.isnan(value) else value for value in flat]
        return flat

    def pointer(self, row: int, column: int) -> str:
        """JSON Pointer of one value; of the tensor where the value is not in the JSON."""
        if self.data is None:
            return self.path
        if self.is_flat:
            return f"{self.path}/data/{row * self.width + column}"
        return f"{self.path}/data/{row}/{column}"

    def refused(self, said: str) -> InvalidInput:
        """The error that says so of this tensor."""
        return refuse(self.path, "wrong_tensor", f"input {self.name!r} {said}")

    def _json_values(self, data: list[Any]) -> list[Any]:
        flat = data
        if not self.is_flat:
            if any(not isinstance(row, list) or len(row) != self.width for row in data):
                raise self.refused(f"has rows of another length than {self.width}")
            flat = list(chain.from_iterable(data))
        if len(flat) != self.rows * self.width:
            wanted = self.rows * self.width
            raise self.refused(f"has {len(flat)} values, its shape {list(self.shape)} has {wanted}")
        self._check_types(flat)
        return flat

    def _check_types(self, flat: list[Any]) -> None:
        dtype = NUMERIC.get(self.datatype)
        kind = "S" if dtype is None else dtype.kind
        if not _JSON_TYPES[kind].issuperset(map(type, flat)):
            raise self.refused(f"has values in its data that are not {self.datatype}")
        if kind in "ui" and dtype is not None:
            info = np.iinfo(dtype)
            if any(v is not None and not info.min <= v <= info.max for v in flat):
                raise self.refused(f"has values beyond the range of {self.datatype}")

    def _texts(self, raw: memoryview) -> list[str]:
        texts: list[str] = []
        offset, end = 0, len(raw)
        while offset < end and len(texts) < self.rows * self.width:
            if offset + _LENGTH.size > end:
                raise self.refused("is cut short within a length")
            (length,) = _LENGTH.unpack_from(raw, offset)
            offset += _LENGTH.size
            if offset + length > end:
                raise self.refused("is cut short within a string")
            texts.append(self._text(raw[offset : offset + length]))
            offset += length
        wanted = self.rows * self.width
        if offset != end or len(texts) != wanted:
            raise self.refused(f"does not hold exactly the {wanted} strings of its shape")
        return texts

    def _text(self, raw: memoryview) -> str:
        try:
            return str(raw, "utf-8")
        except UnicodeDecodeError:
            raise self.refused("has a string that is not UTF-8") from None


def bytes_of(values: Sequence[str]) -> bytes:
    """Strings as the binary extension writes BYTES: each after its length in UTF-8."""
    parts: list[bytes] = []
    for value in values:
        encoded = value.encode()
        parts += (_LENGTH.pack(len(encoded)), encoded)
    return b"".join(parts)

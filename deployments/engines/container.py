"""
Plain arrays and a JSON header in one byte string, for models that are loaded without unpickling.

Layout: eight bytes of magic, the header's length (uint64), the header, padding to 64, the arrays.
The reader trusts nothing: dtypes are five fixed ones, and every offset is checked against the end.
"""

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.contracts import JsonObject
from cluster.errors import ArtifactCorrupt

MAGIC = b"SLPCMP\x01\n"
#: A header names a few arrays and at most some thousand class labels.
MAX_HEADER_BYTES = 16 * 1024 * 1024
_ALIGNMENT_BYTES = 64
_DTYPES = frozenset({"<f8", "<i8", "<f4", "|b1", "|u1"})
_MAX_DIMENSIONS = 3


def pack(meta: JsonObject, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """
    Bytes that ``unpack`` turns back into the same values.

    Raises:
        ArtifactCorrupt: An array has a dtype that the container does not carry.
    """
    entries, blocks, offset = [], [], 0
    for name, array in arrays.items():
        stored = np.ascontiguousarray(array)
        dtype = stored.dtype.newbyteorder("<").str
        if dtype not in _DTYPES:
            raise ArtifactCorrupt(f"array {name!r} has dtype {dtype}, which is not stored")
        block = stored.astype(dtype, copy=False).tobytes()
        entries.append({"name": name, "dtype": dtype, "shape": array.shape, "offset": offset})
        blocks.append(block + b"\0" * _padding(len(block)))
        offset += len(blocks[-1])
    header = json.dumps({"meta": meta, "arrays": entries}, allow_nan=False).encode()
    head = MAGIC + struct.pack("<Q", len(header)) + header
    return b"".join([head, b"\0" * _padding(len(head)), *blocks])


def unpack(content: bytes) -> tuple[JsonObject, dict[str, NDArray[Any]]]:
    """
    Header and arrays of a container; the arrays are copies of their own.

    Raises:
        ArtifactCorrupt: Anything about the bytes is not as ``pack`` writes it.
    """
    header, start = _read_header(content)
    meta, entries = header.get("meta"), header.get("arrays")
    if not isinstance(meta, dict) or not isinstance(entries, list):
        raise ArtifactCorrupt("the compiled model's header lacks its parts")
    arrays: dict[str, NDArray[Any]] = {}
    for entry in entries:
        name, array = _read_array(content, start, entry)
        if name in arrays:
            raise ArtifactCorrupt(f"the compiled model names array {name!r} twice")
        arrays[name] = array
    return meta, arrays


def _padding(size_bytes: int) -> int:
    return -size_bytes % _ALIGNMENT_BYTES


def _read_header(content: bytes) -> tuple[JsonObject, int]:
    fixed = len(MAGIC) + 8
    if content[: len(MAGIC)] != MAGIC or len(content) < fixed:
        raise ArtifactCorrupt("these bytes are not a compiled model")
    (size,) = struct.unpack_from("<Q", content, len(MAGIC))
    if size > min(MAX_HEADER_BYTES, len(content) - fixed):
        raise ArtifactCorrupt("the compiled model's header is longer than its file")
    try:
        header = json.loads(content[fixed : fixed + size])
    except (ValueError, RecursionError) as exc:
        raise ArtifactCorrupt("the compiled model's header is not JSON") from exc
    if not isinstance(header, dict):
        raise ArtifactCorrupt("the compiled model's header is not an object")
    return header, fixed + size + _padding(fixed + size)


def _read_array(content: bytes, start: int, entry: object) -> tuple[str, NDArray[Any]]:
    if not isinstance(entry, dict):
        raise ArtifactCorrupt("the compiled model describes an array by something else")
    name, dtype, shape = entry.get("name"), entry.get("dtype"), entry.get("shape")
    offset = entry.get("offset")
    if not isinstance(name, str) or not isinstance(dtype, str) or dtype not in _DTYPES:
        raise ArtifactCorrupt("the compiled model has an array of a foreign kind")
    if not isinstance(shape, list) or len(shape) > _MAX_DIMENSIONS or not all(map(_is_size, shape)):
        raise ArtifactCorrupt(f"array {name!r} of the compiled model has no valid shape")
    count = math.prod(shape)
    if (
        type(offset) is not int
        or offset < 0
        or start + offset + count * np.dtype(dtype).itemsize > len(content)
    ):
        raise ArtifactCorrupt(f"array {name!r} of the compiled model lies outside its file")
    flat = np.frombuffer(content, dtype=dtype, count=count, offset=start + offset)
    return name, flat.reshape(shape).astype(flat.dtype.newbyteorder("="))


def _is_size(value: object) -> bool:
    return type(value) is int and value >= 0

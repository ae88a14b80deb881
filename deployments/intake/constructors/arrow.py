"""
Column names that pandas kept in pyarrow memory, read from their buffers without pyarrow.

pandas 3 stores text that way where pyarrow is installed, so a ``ColumnTransformer`` given
``X.select_dtypes(…).columns`` brings such an Index.  Layout: Arrow columnar format 1.5,
variable-size binary.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from deployments.intake.constructors.checks import is_count, need_arguments, wrong
from deployments.intake.constructors.frames import strings
from deployments.intake.machine import Machine

RESTORE = "pyarrow.lib._restore_array"
CHUNKED = "pyarrow.lib.chunked_array"
STRING_ARRAY = "pandas.arrays.ArrowStringArray"
_OFFSETS = {"string": "<i4", "utf8": "<i4", "large_string": "<i8", "large_utf8": "<i8"}
_PARTS = 7


@dataclass(frozen=True, slots=True, eq=False)
class TextType:
    """An Arrow text type: numpy code of its offsets."""

    offsets: str


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """Values of an Arrow text array; ``None`` where missing."""

    items: tuple[str | None, ...]


def type_for_alias(_machine: Machine, args: tuple[Any, ...]) -> TextType:
    """``type_for_alias("large_string")``; text types only."""
    need_arguments("pyarrow.lib.type_for_alias", args, str)
    if args[0] not in _OFFSETS:
        raise wrong("pyarrow.lib.type_for_alias", "it is no text", reason="array")
    return TextType(_OFFSETS[args[0]])


def py_buffer(_machine: Machine, args: tuple[Any, ...]) -> bytes:
    """``py_buffer(bytes)``: the bytes themselves."""
    need_arguments("pyarrow.lib.py_buffer", args, (bytes, bytearray))
    return bytes(args[0])


def restore_array(machine: Machine, args: tuple[Any, ...]) -> Texts:
    """``_restore_array((type, length, nulls, offset, [validity, offsets, data], [], None))``."""
    parts = args[0] if len(args) == 1 else None
    if type(parts) is not tuple or len(parts) != _PARTS:
        raise wrong(RESTORE, "its parts have another form", reason="array")
    kind, length, _, start, buffers, children, dictionary = parts
    good = (
        type(kind) is TextType
        and is_count(length)
        and is_count(start)
        and type(buffers) is list
        and len(buffers) == 3  # noqa: PLR2004 - validity, offsets, data
        and all(part is None or type(part) is bytes for part in buffers)
        and children == []
        and dictionary is None
    )
    if not good:
        raise wrong(RESTORE, "its parts have another form", reason="array")
    machine.budget.spend_object_elements(length)
    return Texts(_decode(kind, length, start, buffers))


def _decode(
    kind: TextType, length: int, start: int, buffers: list[bytes | None]
) -> tuple[str | None, ...]:
    validity, raw_offsets, data = buffers[0], buffers[1] or b"", buffers[2] or b""
    stop = start + length
    width = np.dtype(kind.offsets).itemsize
    if length and (stop + 1) * width > len(raw_offsets):
        raise wrong(RESTORE, "it has fewer offsets than texts", reason="array")
    if validity is not None and stop > len(validity) * 8:
        raise wrong(RESTORE, "it has fewer marks than texts", reason="array")
    offsets = np.frombuffer(raw_offsets, kind.offsets, count=stop + 1 if length else 0)
    found: list[str | None] = []
    for number in range(start, stop):
        if validity is not None and not validity[number >> 3] >> (number & 7) & 1:
            found.append(None)
            continue
        first, last = int(offsets[number]), int(offsets[number + 1])
        if not 0 <= first <= last <= len(data):
            raise wrong(RESTORE, "a text lies outside its buffer", reason="array")
        found.append(data[first:last].decode("utf-8"))
    return tuple(found)


def chunked_array(_machine: Machine, args: tuple[Any, ...]) -> Texts:
    """``chunked_array([chunk, …], type)`` of text chunks."""
    chunks = args[0] if args else None
    if type(chunks) is not list or any(type(chunk) is not Texts for chunk in chunks):
        raise wrong(CHUNKED, "a chunk is no text", reason="array")
    return Texts(tuple(value for chunk in chunks for value in chunk.items))


def string_array(_machine: Machine, state: Any) -> Any:
    """A pandas string array for the state of an ArrowStringArray."""
    texts = state.get("_pa_array") if type(state) is dict else None
    kind = state.get("_dtype") if type(state) is dict else None
    if type(texts) is not Texts or not isinstance(kind, pd.StringDtype):
        raise wrong(STRING_ARRAY, "its state has another form", reason="array")
    return strings(list(texts.items), kind)

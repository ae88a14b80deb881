"""numpy's ``.npy`` format, read by us: header first, then exactly the bytes it promises."""

import ast
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployments.intake.constructors.arrays import from_bytes
from deployments.intake.constructors.checks import wrong
from deployments.intake.machine import Machine

_NAME = "numpy.ndarray"
_MAGIC = b"\x93NUMPY"
_LENGTH_BYTES = {1: 2, 2: 4, 3: 4}
_MAX_HEADER = 10_000
_KEYS = {"descr", "fortran_order", "shape"}
_CODE = re.compile(r"[<>=|]?[?bBiufcSUVmM]\d{0,9}(\[\d{0,6}[a-zA-Z]{1,7}\])?")
_PADDING = re.compile(r"\|?V(\d{1,4})")


def read_npy(machine: Machine, content: bytes) -> NDArray[Any]:
    """
    The array in a ``.npy`` file; objects, nested records and wrong sizes are refused.

    Raises:
        UploadRefused: gate2, reason "array".
    """
    version = content[6] if len(content) > len(_MAGIC) + 1 else 0
    if not content.startswith(_MAGIC) or version not in _LENGTH_BYTES:
        raise wrong(_NAME, "a member is no .npy file", reason="array")
    size = _LENGTH_BYTES[version]
    length = int.from_bytes(content[8 : 8 + size], "little")
    start = 8 + size + length
    if length > _MAX_HEADER or start > len(content):
        raise wrong(_NAME, "a member's header is too long", reason="array")
    header = ast.literal_eval(content[8 + size : start].decode("latin1").strip())
    if type(header) is not dict or set(header) != _KEYS:
        raise wrong(_NAME, "a member's header has another form", reason="array")
    kind = _dtype(header["descr"])
    order = "F" if header["fortran_order"] is True else "C"
    return from_bytes(machine, _NAME, content[start:], kind, header["shape"], order)


def _dtype(description: Any) -> np.dtype[Any]:
    if type(description) is str:
        if _CODE.fullmatch(description) is None:
            raise wrong(_NAME, "its element type is none that lies as bytes", reason="array")
        return np.dtype(description)
    if type(description) is not list or not 0 < len(description) <= 64:  # noqa: PLR2004 - fields
        raise wrong(_NAME, "its element type has another form", reason="array")
    return _record(description)


def _record(fields: list[Any]) -> np.dtype[Any]:
    names, formats, offsets, offset = [], [], [], 0
    for field in fields:
        if type(field) is not tuple or tuple(map(type, field)) != (str, str):
            raise wrong(_NAME, "a field is no plain number", reason="array")
        name, code = field
        padding = _PADDING.fullmatch(code) if name == "" else None
        if padding is None:
            kind = _dtype(code)
            names.append(name)
            formats.append(kind)
            offsets.append(offset)
            offset += kind.itemsize
        else:
            offset += int(padding[1])
    record = {"names": names, "formats": formats, "offsets": offsets, "itemsize": offset}
    built: np.dtype[Any] = np.dtype(record)  # type: ignore[call-overload]  # numpy's stubs want a TypedDict
    return built

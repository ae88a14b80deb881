"""
numpy dtypes and scalars: from a short code and a checked state, never by numpy's own unpickling.

A structured dtype may have plain fields only; objects, sub-arrays and metadata are refused.
"""

import re
from typing import Any

import numpy as np

from deployments.intake.constructors.checks import is_count, need_arguments, wrong
from deployments.intake.machine import Machine
from deployments.intake.tokens import Pending

DTYPE = "numpy.dtype"
SCALAR = "numpy._core.multiarray.scalar"
_CODE = re.compile(r"[<>=|]?[?bBhHiIlLqQefdgFDSUVOmMuc]\d{0,9}")
_DATE_UNITS = frozenset({"Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as"})
_ORDERS = frozenset({"<", ">", "|", "="})
_MAX_ITEM_BYTES = 1 << 24
_MAX_FIELDS = 64
_PLAIN_STATE = 8
_DATE_STATE = 9


def dtype(_machine: Machine, args: tuple[Any, ...]) -> Pending:
    """``numpy.dtype(code, align, copy)``; the result awaits its byte order and fields."""
    need_arguments(DTYPE, args, str, (bool, int), (bool, int))
    code = args[0]
    if _CODE.fullmatch(code) is None:
        raise wrong(DTYPE, f"{code[:20]!r} is no plain type", reason="array")
    return Pending(DTYPE, lambda _, state: _finish(code, state))


def _finish(code: str, state: Any) -> np.dtype[Any]:
    if type(state) is not tuple or len(state) not in {_PLAIN_STATE, _DATE_STATE}:
        raise wrong(DTYPE, "its state has another form", reason="array")
    order, subarray, names, fields = state[1:5]
    if order not in _ORDERS or subarray is not None:
        raise wrong(DTYPE, "it has a sub-array or no byte order", reason="array")
    if names is not None or fields is not None:
        return _structured(code, names, fields, state[5])
    base = np.dtype(code)
    if base.kind in "mM":
        base = np.dtype(f"{base.kind}8{_unit(state)}")
    elif len(state) == _DATE_STATE:
        raise wrong(DTYPE, "it carries metadata", reason="array")
    if base.itemsize > _MAX_ITEM_BYTES:
        raise wrong(DTYPE, "its items are too large", reason="array")
    return base if order == "|" else base.newbyteorder(order)


def _unit(state: tuple[Any, ...]) -> str:
    """``[25s]`` and the like, from the ninth element: ({}, (unit, count, 1, 1))."""
    if len(state) != _DATE_STATE or type(state[8]) is not tuple or len(state[8]) != 2:  # noqa: PLR2004 - a pair
        return ""
    metadata, unit = state[8]
    if metadata not in ({}, None) or type(unit) is not tuple or len(unit) != 4:  # noqa: PLR2004 - numpy's four
        raise wrong(DTYPE, "it carries metadata", reason="array")
    name = unit[0].decode("ascii") if type(unit[0]) is bytes else unit[0]
    if name == "generic":
        return ""
    if name not in _DATE_UNITS or not is_count(unit[1], at_most=1 << 31) or unit[1] == 0:
        raise wrong(DTYPE, "its unit of time is unknown", reason="array")
    return f"[{unit[1]}{name}]"


def _structured(code: str, names: Any, fields: Any, itemsize: Any) -> np.dtype[Any]:
    good = (
        code.lstrip("<>=|").startswith("V")
        and type(names) is tuple
        and 0 < len(names) <= _MAX_FIELDS
        and type(fields) is dict
        and set(fields) == set(names)
        and is_count(itemsize, at_most=_MAX_ITEM_BYTES)
    )
    if not good:
        raise wrong(DTYPE, "its fields have another form", reason="array")
    formats, offsets = [], []
    for name in names:
        entry = fields[name]
        if type(entry) is not tuple or len(entry) != 2:  # noqa: PLR2004 - dtype and offset
            raise wrong(DTYPE, "a field is no pair of type and offset", reason="array")
        kind, offset = entry
        if not is_plain(kind) or not is_count(offset) or offset + kind.itemsize > itemsize:
            raise wrong(DTYPE, "a field is no plain number in its record", reason="array")
        formats.append(kind)
        offsets.append(offset)
    record = {"names": names, "formats": formats, "offsets": offsets, "itemsize": itemsize}
    built: np.dtype[Any] = np.dtype(record)  # type: ignore[call-overload]  # numpy's stubs want a TypedDict
    return built


def is_plain(kind: Any) -> bool:
    """True for a dtype instance without objects, fields, sub-arrays or metadata."""
    return (
        isinstance(kind, np.dtype)
        and not kind.hasobject
        and kind.fields is None
        and kind.subdtype is None
        and kind.metadata is None
        and kind.itemsize > 0
        and kind.kind in "?bBiufcSUmM"
    )


def is_storable(kind: Any) -> bool:
    """True for a dtype whose items lie as bytes in a file: plain, or a record of plain fields."""
    if is_plain(kind):
        return True
    return (
        isinstance(kind, np.dtype)
        and kind.fields is not None
        and kind.metadata is None
        and not kind.hasobject
        and kind.itemsize > 0
        and all(is_plain(field[0]) for field in kind.fields.values())
    )


def scalar(_machine: Machine, args: tuple[Any, ...]) -> Any:
    """``scalar(dtype, bytes)``: one numpy number, text or date."""
    if len(args) != 2 or not isinstance(args[0], np.dtype) or type(args[1]) is not bytes:  # noqa: PLR2004 - a pair
        raise wrong(SCALAR, "takes a type and bytes", reason="array")
    kind, raw = args
    if kind.kind in "SU" and kind.itemsize == 0 and not raw:
        return kind.type()
    if not is_plain(kind) or len(raw) != kind.itemsize:
        raise wrong(SCALAR, "the bytes do not fit the type", reason="array")
    return np.frombuffer(raw, dtype=kind)[0]

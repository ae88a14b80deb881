"""The few built-in calls that models contain: slices, bytes, sets, ranges, dates, partials."""

import datetime as dt
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from functools import partial as make_partial
from typing import Any

from deployments.intake.constructors.checks import is_count, need_arguments, wrong
from deployments.intake.containers import check_key
from deployments.intake.machine import Machine
from deployments.intake.tokens import Pending

PARTIAL = "functools.partial"
_FACTORIES = (int, float, str, bool, list, dict, set, tuple, None)
_PARTIAL_STATE = 4


def slice_(_machine: Machine, args: tuple[Any, ...]) -> slice:
    """``slice(start, stop, step)`` of counts, names or None."""
    need_arguments("builtins.slice", args, *[(int, str, type(None))] * 3)
    return slice(*args)


def range_(machine: Machine, args: tuple[Any, ...]) -> range:
    """``range(start, stop, step)``; it holds no elements, so its length costs nothing here."""
    need_arguments("builtins.range", args, int, int, int)
    found = range(*args)
    if not is_count(len(found), at_most=machine.limits.max_object_elements):
        raise wrong("builtins.range", "it is too long")
    return found


def bytes_(_machine: Machine, args: tuple[Any, ...]) -> bytes:
    """``bytes()``, as protocol 2 writes empty bytes."""
    need_arguments("builtins.bytes", args)
    return b""


def bytearray_(_machine: Machine, args: tuple[Any, ...]) -> bytearray:
    """``bytearray()`` or ``bytearray(bytes)``."""
    if args:
        need_arguments("builtins.bytearray", args, bytes)
    return bytearray(*args)


def encode(_machine: Machine, args: tuple[Any, ...]) -> bytes:
    """``codecs.encode(text, "latin1")``, as protocol 2 writes bytes."""
    need_arguments("_codecs.encode", args, str, str)
    if args[1] != "latin1":
        raise wrong("_codecs.encode", "the encoding is not latin1")
    return bytes(args[0].encode("latin1"))


def set_of(kind: type[Any]) -> Callable[[Machine, tuple[Any, ...]], Any]:
    """The constructor of ``set([…])`` or ``frozenset([…])``, as protocols 2 and 3 write them."""

    def build(_machine: Machine, args: tuple[Any, ...]) -> Any:
        if args:
            need_arguments(f"builtins.{kind.__name__}", args, list)
            for item in args[0]:
                check_key(item)
        return kind(*args)

    return build


def complex_(_machine: Machine, args: tuple[Any, ...]) -> complex:
    """``complex(real, imaginary)``."""
    need_arguments("builtins.complex", args, (float, int), (float, int))
    return complex(*args)


def ordered_dict(_machine: Machine, args: tuple[Any, ...]) -> Any:
    """``OrderedDict()``; its items follow."""
    need_arguments("collections.OrderedDict", args)
    return OrderedDict()


def default_dict(_machine: Machine, args: tuple[Any, ...]) -> Any:
    """``defaultdict(int)`` and the like; its items follow."""
    if len(args) != 1 or not any(args[0] is factory for factory in _FACTORIES):
        raise wrong("collections.defaultdict", "its factory is no plain type")
    return defaultdict(args[0])


def date(_machine: Machine, args: tuple[Any, ...]) -> dt.date:
    """``date(b"…")``: four bytes, checked by the constructor itself."""
    need_arguments("datetime.date", args, bytes)
    return dt.date.fromordinal(_date_parts(args[0]).toordinal())


def _date_parts(raw: bytes) -> dt.date:
    if len(raw) != 4:  # noqa: PLR2004 - year, year, month, day
        raise wrong("datetime.date", "it is not four bytes")
    return dt.date(raw[0] * 256 + raw[1], raw[2], raw[3])


def moment(_machine: Machine, args: tuple[Any, ...]) -> dt.datetime:
    """``datetime(b"…")``: ten bytes without a time zone."""
    need_arguments("datetime.datetime", args, bytes)
    raw = args[0]
    if len(raw) != 10:  # noqa: PLR2004 - date, time, microseconds
        raise wrong("datetime.datetime", "it is not ten bytes")
    day = _date_parts(raw[:4])
    micros = int.from_bytes(raw[7:10], "big")
    return dt.datetime(day.year, day.month, day.day, raw[4], raw[5], raw[6], micros)  # noqa: DTZ001 - the file says none


def partial(machine: Machine, args: tuple[Any, ...]) -> Pending:
    """``partial(function)`` over a listed function; its arguments come with the state."""
    if len(args) != 1 or not machine.grants.is_reference(args[0]) or isinstance(args[0], type):
        raise wrong(PARTIAL, "it is not over a listed function", reason="global")
    function = args[0]
    return Pending(PARTIAL, lambda _, state: make_checked_partial(function, state))


def make_checked_partial(function: Any, state: Any) -> Any:
    """``partial(function, *args, **kwargs)`` for a state (function, args, kwargs, dict)."""
    if type(state) is not tuple or len(state) != _PARTIAL_STATE or state[0] is not function:
        raise wrong(PARTIAL, "its state has another form")
    _, args, kwargs, namespace = state
    if type(args) is not tuple or type(kwargs) is not dict or namespace not in (None, {}):
        raise wrong(PARTIAL, "its state has another form")
    if not all(type(key) is str for key in kwargs):
        raise wrong(PARTIAL, "a keyword is no text")
    for value in (*args, *kwargs.values()):
        check_key(tuple(value) if type(value) is list else value)
    return make_partial(function, *args, **kwargs)

"""
Opcodes that put values into tuples, lists, dictionaries and sets.

Items go only into a container of the exact type, and only keys whose hash is cheap are hashed.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from deployments.intake.budgets import over
from deployments.intake.machine import Machine
from deployments.intake.opcodes import Handler
from deployments.intake.refusals import refusal

#: How each mapping takes an item: the built-in way, past whatever a subclass defines.
_SET_ITEM: dict[type[Any], Callable[[Any, Any, Any], None]] = {
    dict: dict.__setitem__,
    OrderedDict: OrderedDict.__setitem__,
    defaultdict: dict.__setitem__,
    Bunch: dict.__setitem__,
}
_KEY_TYPES = frozenset({str, int, float, bool, type(None), bytes})
#: Beyond this, integers that collide in a dict can be made by the million.
_LARGEST_KEY = 1 << 60


def check_key(key: Any) -> None:
    """
    Refuse a dict key or set member whose hash could cost more than its bytes.

    Allowed are str, int, float, bool, None, bytes, numpy scalars and flat tuples of those.
    """
    if type(key) is str:
        return
    if type(key) is tuple:
        for part in key:
            _check_flat(part)
    else:
        _check_flat(key)


def _check_flat(key: Any) -> None:
    # A plain class hashes by its identity; scikit-learn keys dtypes that way.
    allowed = type(key) in _KEY_TYPES or isinstance(key, np.generic) or type(key) is type
    if not allowed or (type(key) is int and not -_LARGEST_KEY < key < _LARGEST_KEY):
        raise refusal(
            f"gate2: a {type(key).__name__} is used as a dictionary key: keys are text, numbers "
            "or flat tuples of them",
            gate="gate2",
            reason="key",
        )


def _push_tuple(m: Machine, items: tuple[Any, ...]) -> None:
    depths = m.tuple_depths
    depth = 1
    for item in items:
        if type(item) is tuple:
            depth = max(depth, 1 + depths.get(id(item), 1))
    if depth > m.limits.max_depth:
        raise over(f"tuples nested more than {m.limits.max_depth} deep")
    if depth > 1:
        depths[id(items)] = depth
    else:
        depths.pop(id(items), None)
    m.stack.append(items)


def _tuple(m: Machine) -> None:
    _push_tuple(m, tuple(m.pop_mark()))


def _short_tuple(count: int) -> Handler:
    def push(m: Machine) -> None:
        items = tuple(m.stack[-count:])
        if len(items) != count:
            raise IndexError(count)
        del m.stack[-count:]
        _push_tuple(m, items)

    return push


def _exact(m: Machine, kind: type[Any]) -> Any:
    target = m.stack[-1]
    if type(target) is not kind:
        raise refusal(
            f"gate2: items are added to a {type(target).__name__}: save the model again",
            gate="gate2",
            reason="append_target",
        )
    return target


def _append(m: Machine) -> None:
    item = m.stack.pop()
    _exact(m, list).append(item)


def _appends(m: Machine) -> None:
    items = m.pop_mark()
    _exact(m, list).extend(items)


def _set_items(m: Machine, items: list[Any]) -> None:
    target = m.stack[-1]
    set_item = _SET_ITEM.get(type(target))
    if set_item is None:
        raise refusal(
            f"gate2: items are set on a {type(target).__name__}: save the model again",
            gate="gate2",
            reason="append_target",
        )
    if len(items) % 2:
        raise IndexError(len(items))
    for index in range(0, len(items), 2):
        check_key(items[index])
        set_item(target, items[index], items[index + 1])


def _setitem(m: Machine) -> None:
    value = m.stack.pop()
    key = m.stack.pop()
    _set_items(m, [key, value])


def _setitems(m: Machine) -> None:
    items = m.pop_mark()
    _set_items(m, items)


def _additems(m: Machine) -> None:
    items = m.pop_mark()
    target = _exact(m, set)
    for item in items:
        check_key(item)
        target.add(item)


def _frozenset(m: Machine) -> None:
    items = m.pop_mark()
    for item in items:
        check_key(item)
    m.stack.append(frozenset(items))


CONTAINER_OPCODES: dict[int, Handler] = {
    ord("t"): _tuple,
    0x85: _short_tuple(1),
    0x86: _short_tuple(2),
    0x87: _short_tuple(3),
    ord("a"): _append,
    ord("e"): _appends,
    ord("s"): _setitem,
    ord("u"): _setitems,
    0x90: _additems,
    0x91: _frozenset,
}

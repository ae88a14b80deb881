"""
One function for each kind of skops node, from its JSON to the object.

Kinds that skops has and this table has not (bound methods, ``operator`` functions) are refused.
"""

import json
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from deployments.intake.constructors.builtins import default_dict, make_checked_partial
from deployments.intake.constructors.checks import wrong
from deployments.intake.containers import check_key
from deployments.intake.refusals import refusal, unlisted
from deployments.intake.skops_arrays import ARRAY_NODES
from deployments.intake.skops_objects import OBJECT_NODES
from deployments.intake.tokens import ClassToken, ConstructorToken

if TYPE_CHECKING:
    from deployments.intake.skops_reader import SkopsSchema

Node = Callable[["SkopsSchema", dict[str, Any]], Any]
_MAPPINGS: dict[tuple[str, str], type[Any]] = {
    ("builtins", "dict"): dict,
    ("collections", "OrderedDict"): OrderedDict,
}
_BUNCH = ("sklearn.utils._bunch", "Bunch")
_JSON_TYPES = (str, int, float, bool, type(None))
_MAX_BITS = 512


def _json(_schema: "SkopsSchema", state: dict[str, Any]) -> Any:
    content = state["content"]
    value = json.loads(content) if type(content) is str else None
    if type(content) is not str or type(value) not in _JSON_TYPES:
        raise wrong("JsonNode", "it is no plain value")
    if type(value) is int and value.bit_length() > _MAX_BITS:
        raise wrong("JsonNode", "its number is too long", reason="budget")
    return value


def _expect(schema: "SkopsSchema", state: dict[str, Any], module: str, name: str) -> None:
    found = schema.pair(state)
    if found != (module, name):
        raise unlisted(".".join(found))


def _items(schema: "SkopsSchema", state: dict[str, Any]) -> list[Any]:
    content = state["content"]
    if type(content) is not list:
        raise wrong("ListNode", "it holds no list")
    return [schema.build(item) for item in content]


def _list(schema: "SkopsSchema", state: dict[str, Any]) -> list[Any]:
    _expect(schema, state, "builtins", "list")
    return _items(schema, state)


def _set(schema: "SkopsSchema", state: dict[str, Any]) -> set[Any]:
    _expect(schema, state, "builtins", "set")
    items = _items(schema, state)
    for item in items:
        check_key(item)
    return set(items)


def _tuple(schema: "SkopsSchema", state: dict[str, Any]) -> Any:
    pair = schema.pair(state)
    items = tuple(_items(schema, state))
    if pair == ("builtins", "tuple"):
        return items
    token = schema.grants.find(*pair)
    if type(token) is not ClassToken or not issubclass(token.cls, tuple):
        raise unlisted(".".join(pair))
    return schema.grants.instance(schema.machine, token, items)


def _dict(schema: "SkopsSchema", state: dict[str, Any]) -> Any:
    pair = schema.pair(state)
    if pair == _BUNCH:
        found: Any = schema.grants.instance(schema.machine, schema.grants.find(*pair), ())
    elif pair in _MAPPINGS:
        found = _MAPPINGS[pair]()
    else:
        raise unlisted(".".join(pair))
    content, kinds = state["content"], schema.build(state["key_types"])
    if type(content) is not dict or type(kinds) is not list or len(kinds) != len(content):
        raise wrong("DictNode", "its keys have no types")
    for (key, value), kind in zip(content.items(), kinds, strict=True):
        typed = _key(key, kind)
        check_key(typed)
        found[typed] = schema.build(value)
    return found


def _key(text: str, kind: Any) -> Any:
    """A dictionary key back in its own type; JSON keeps text alone."""
    if kind is str:
        return text
    if kind is int:
        return int(text)
    if kind is float:
        return float(text)
    if kind is bool:
        return text in {"true", "True"}
    if isinstance(kind, type) and issubclass(kind, (np.integer, np.floating, np.str_)):
        number = float(text) if issubclass(kind, np.floating) else text
        return kind(int(text)) if issubclass(kind, np.integer) else kind(number)
    raise wrong("DictNode", "a key has an unknown type", reason="key")


def _default_dict(schema: "SkopsSchema", state: dict[str, Any]) -> Any:
    _expect(schema, state, "collections", "defaultdict")
    main = schema.build(state["content"]["main"])
    factory = schema.build(state["content"]["default_factory"])
    made: defaultdict[Any, Any] = default_dict(schema.machine, (factory,))
    if type(main) is not dict:
        raise wrong("DefaultDictNode", "it holds no dictionary")
    made.update(main)
    return made


def _type(schema: "SkopsSchema", state: dict[str, Any]) -> Any:
    pair = schema.pair(state)
    if pair == ("builtins", "NoneType"):
        return type(None)
    found = schema.grants.find(*pair)
    if type(found) is ConstructorToken:
        raise unlisted(".".join(pair))
    return found


def _function(schema: "SkopsSchema", state: dict[str, Any]) -> Any:
    pair = schema.pair(state)
    found = schema.grants.find(*pair)
    if not schema.grants.is_reference(found) or isinstance(found, type):
        raise refusal(
            f"gate2: the file holds {'.'.join(pair)!r} as a function, which it is not",
            gate="gate2",
            reason="type",
            name=".".join(pair),
        )
    return found


def _partial(schema: "SkopsSchema", state: dict[str, Any]) -> Any:
    _expect(schema, state, "functools", "partial")
    content = state["content"]
    function, args, kwargs, namespace = (
        schema.build(content[key]) for key in ("func", "args", "kwds", "namespace")
    )
    if not schema.grants.is_reference(function) or isinstance(function, type):
        raise wrong("functools.partial", "it is not over a listed function", reason="type")
    return make_checked_partial(function, (function, args, kwargs, namespace))


def _slice(_schema: "SkopsSchema", state: dict[str, Any]) -> slice:
    content = state["content"]
    parts = [content[key] for key in ("start", "stop", "step")]
    if any(type(part) not in {int, str, type(None)} for part in parts):
        raise wrong("builtins.slice", "a bound is no number")
    return slice(*parts)


def _bytes(schema: "SkopsSchema", state: dict[str, Any]) -> bytes:
    return schema.member(state, ".bin")


def _bytearray(schema: "SkopsSchema", state: dict[str, Any]) -> bytearray:
    return bytearray(schema.member(state, ".bin"))


NODES: dict[str, Node] = {
    "JsonNode": _json,
    "ListNode": _list,
    "SetNode": _set,
    "TupleNode": _tuple,
    "DictNode": _dict,
    "DefaultDictNode": _default_dict,
    "TypeNode": _type,
    "FunctionNode": _function,
    "PartialNode": _partial,
    "SliceNode": _slice,
    "BytesNode": _bytes,
    "BytearrayNode": _bytearray,
    **ARRAY_NODES,
    **OBJECT_NODES,
}

"""
JSON bodies of the prediction routes: orjson's speed with a strict reader's refusals.

orjson takes the last of duplicate members; whether there can be any is told by counting colons,
and only a body that may hold some is read a second time.
"""

import json
from typing import Any

import orjson

from cluster.contracts import JsonObject
from cluster.errors import MAX_DETAILS, Fault, InvalidInput
from cluster.request_errors import MalformedJson

_SHOWN_LENGTH = 80


def parse_object(body: bytes | bytearray | memoryview) -> JsonObject:
    """
    The JSON object that a body is.

    Raises:
        MalformedJson: Not JSON, NaN or an infinity, nested beyond 1024, or a member twice.
        InvalidInput: Another JSON value than an object.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _malformed(bytes(body), error) from None
    if not isinstance(document, dict):
        raise InvalidInput("the body must be a JSON object")
    # Each member has a colon outside of strings: as many colons as members leave no room for one
    # that was overwritten.
    if bytes(body).count(b":") != _members(document):
        parse_strictly(body)
    return document


def parse_strictly(body: bytes | bytearray | memoryview) -> Any:
    """
    The body's value with integers exact, however long.

    Raises:
        MalformedJson: A member stands twice in one object, or a number has no value.
    """
    try:
        return json.loads(bytes(body), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except MalformedJson:
        raise
    except (ValueError, RecursionError):
        raise MalformedJson("the body is not JSON that can be read: simplify it") from None


def refuse_unknown(
    document: JsonObject, known: frozenset[str], path: str = "", what: str = "the body"
) -> None:
    """
    Return if ``document`` has no member beside those that are known.

    Raises:
        InvalidInput: Naming each.
    """
    if known.issuperset(document):
        return
    extra = [name for name in document if name not in known][:MAX_DETAILS]
    faults = tuple(
        Fault(
            path=f"{path}/{name[:_SHOWN_LENGTH].replace('~', '~0').replace('/', '~1')}",
            code="unknown_member",
            message="is not a member of this object",
        )
        for name in extra
    )
    names = ", ".join(repr(name[:_SHOWN_LENGTH]) for name in extra)
    takes = ", ".join(sorted(known))
    raise InvalidInput(f"{what} takes the members {takes}; {names} is unknown", details=faults)


def member_fault(path: str, code: str, message: str) -> InvalidInput:
    """The error for one member; ``path`` is its JSON Pointer."""
    name = path.removeprefix("/")
    fault = Fault(path=path, code=code, message=message)
    return InvalidInput(f"{name} {message}", details=(fault,))


def _malformed(body: bytes, error: orjson.JSONDecodeError) -> MalformedJson:
    if b"NaN" in body or b"Infinity" in body:
        return MalformedJson("NaN and Infinity are not JSON: send null for a missing value")
    where = f"line {error.lineno}, column {error.colno}"
    return MalformedJson(f"the body is not JSON (at {where}): send a JSON object")


def _members(value: Any) -> int:
    """Members of all objects; lists of anything but objects are not searched."""
    if isinstance(value, dict):
        return len(value) + sum(map(_members, value.values()))
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return sum(map(_members, value))
    return 0


def _unique(pairs: list[tuple[str, Any]]) -> JsonObject:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise MalformedJson(f"the member {twice[:_SHOWN_LENGTH]!r} stands twice in one object")
    return members


def _refuse_constant(name: str) -> Any:
    raise MalformedJson(f"{name} is not JSON: send null for a missing value")

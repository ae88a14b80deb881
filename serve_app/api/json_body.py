"""
Strict JSON for the routes that pydantic reads: no duplicates, no NaN, no depth, no guessing.

The prediction routes read theirs in ``prediction_json``, which trades for speed.
"""

import json
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from cluster.request_errors import MalformedJson, UnsupportedMediaType

#: No body of these routes nests deeper by itself.
MAX_DEPTH = 32
_JSON = b"application/json"
#: Beyond it not every integer is a 64-bit floating point number.
_MOST_EXACT = 2**53


def decode(body: bytes | bytearray) -> Any:
    """
    The value of a JSON text.

    Raises:
        MalformedJson: If it is none in UTF-8, repeats a member, nests beyond ``MAX_DEPTH`` or
            holds a number that JSON has no word for.
    """
    try:
        text = body.decode("utf-8")
        _check_depth(text)
        return json.loads(
            text, object_pairs_hook=_members, parse_constant=_refuse, parse_float=_finite
        )
    except MalformedJson:
        raise
    except (ValueError, RecursionError):
        raise MalformedJson("the body is not JSON in UTF-8: check it with a JSON tool") from None


class StrictRequest(Request):
    """A request whose JSON is read by ``decode``."""

    async def json(self) -> Any:
        """The body's value; raises MalformedJson."""
        return decode(await self.body())


class StrictRoute(APIRoute):
    """A route that takes ``application/json`` alone, or no Content-Type, and reads it strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler behind our reading of the body."""
        handler = super().get_route_handler()

        async def strict_handler(request: Request) -> Response:
            if self.body_field is not None:
                _check_content_type(request)
            return await handler(StrictRequest(request.scope, request.receive))

        return strict_handler


def _check_content_type(request: Request) -> None:
    given = [value for name, value in request.scope["headers"] if name == b"content-type"]
    media_type = given[0].partition(b";")[0].strip().lower() if given else _JSON
    if media_type != _JSON:
        raise UnsupportedMediaType("send the body as application/json")
    if not given:
        # FastAPI takes a body without a type for bytes.
        request.scope["headers"] = [*request.scope["headers"], (b"content-type", _JSON)]


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedJson("an object has the same member twice: send each once")
    return found


def _refuse(_constant: str) -> NoReturn:
    raise MalformedJson("JSON has no NaN and no infinities: send null, or leave the member out")


def _finite(text: str) -> float | int:
    value = float(text)
    if value - value != 0:
        raise MalformedJson("a number is too large: send one that fits 64-bit floating point")
    # JSON has one kind of number: 5.0 is an integer wherever one is asked for.
    return int(value) if value.is_integer() and abs(value) <= _MOST_EXACT else value


def _check_depth(text: str) -> None:
    depth = 0
    is_string = is_escaped = False
    # Bodies of these routes are small; only one with many brackets is looked at by character.
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    for character in text:
        if is_string:
            if is_escaped:
                is_escaped = False
            elif character == "\\":
                is_escaped = True
            elif character == '"':
                is_string = False
        elif character == '"':
            is_string = True
        elif character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise MalformedJson(f"the body nests deeper than {MAX_DEPTH}: make it flatter")
        elif character in "]}":
            depth -= 1

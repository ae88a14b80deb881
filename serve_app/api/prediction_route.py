"""
The hot routes' frame, as pure ASGI: identity, limit, body, deadline; then the door's own answer.

A FastAPI route would cost about 150 µs more, a Request and a Response object another 20.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from starlette.types import Receive, Scope, Send

from cluster.errors import InvalidInput, PlatformError
from cluster.request_context import request_id_var
from cluster.settings import Settings
from serve_app.api.errors import error_response, status_of
from serve_app.security.principals import Principal, note_caller
from serve_app.services import Services

_INTERNAL = 500
#: A body of this size takes some five milliseconds to read.
_LARGE_BYTES = 512 * 1024
_MOST_TIMEOUT_DIGITS = 9

T = TypeVar("T")
R = TypeVar("R")
RawHeaders = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was let in."""

    services: Services
    principal: Principal
    path_params: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    body: bytes | bytearray
    timeout_s: float

    @property
    def is_large(self) -> bool:
        """Whether the body takes so long to read that other requests would feel it."""
        return len(self.body) > _LARGE_BYTES

    async def off_loop(self, work: Callable[[T], R], argument: T) -> R:
        """``work(argument)``, in a thread where the body is large."""
        if self.is_large:
            return await asyncio.to_thread(work, argument)
        return work(argument)


@dataclass(frozen=True, slots=True)
class Answer:
    """A 200: its body, and headers beside Content-Length."""

    body: bytes
    headers: RawHeaders


class Reply(NamedTuple):
    """A response before it is sent."""

    status: int
    headers: RawHeaders
    body: bytes

    async def send(self, send: Send) -> None:
        """Send it."""
        start = {"type": "http.response.start", "status": self.status, "headers": self.headers}
        await send(start)
        await send({"type": "http.response.body", "body": self.body})


JSON_HEADERS: RawHeaders = [(b"content-type", b"application/json")]


class PredictionRoute:
    """
    An ASGI application around one door.

    Args:
        answer: Gives the 200; raises PlatformError for everything else.
        is_v2: Whether errors take the statuses of the Open Inference Protocol.
    """

    def __init__(
        self, answer: Callable[[Asked], Awaitable[Answer]], *, is_v2: bool = False
    ) -> None:
        self._answer = answer
        self._is_v2 = is_v2

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        services: Services = scope["app"].state.services
        headers = dict(scope["headers"])
        reply = await self.reply(services, scope["path_params"], headers, receive)
        await reply.send(send)

    async def reply(
        self,
        services: Services,
        path_params: Mapping[str, str],
        headers: Mapping[bytes, bytes],
        receive: Receive,
    ) -> Reply:
        """
        What to answer to one request; an error too, unless it is ours to mend.

        Raises:
            PlatformError: One whose status is 500.
        """
        limit_headers: RawHeaders = []
        try:
            principal = await _identify(services, headers)
            note_caller(principal)
            decision = services.limits.try_take(principal, "predict")
            if decision is None:
                decision = await services.limits.check(principal, "predict")
            limit_headers = decision.raw_headers
            asked = Asked(
                services,
                principal,
                path_params,
                headers,
                await _read_body(receive),
                _timeout_s(services.settings, headers),
            )
            answer = await self._answer(asked)
        except PlatformError as error:
            if status_of(error, v2=self._is_v2) == _INTERNAL:
                raise
            response = error_response(error, request_id_var.get(), v2=self._is_v2)
            response.raw_headers.extend(limit_headers)
            return Reply(response.status_code, response.raw_headers, bytes(response.body))
        length = (b"content-length", b"%d" % len(answer.body))
        return Reply(200, [length, *answer.headers, *limit_headers], answer.body)


async def _identify(services: Services, headers: Mapping[bytes, bytes]) -> Principal:
    bearer, key = headers.get(b"authorization"), headers.get(b"x-api-key")
    authorization = None if bearer is None else bearer.decode("latin-1")
    api_key = None if key is None else key.decode("latin-1")
    found = services.identities.find_cached(authorization, api_key)
    return found or await services.identities.identify(authorization, api_key)


async def _read_body(receive: Receive) -> bytes | bytearray:
    """The whole body; the middleware bounds it.  One copy if it came in pieces, none if not."""
    message = await receive()
    body: Any = message.get("body", b"")
    if not message.get("more_body", False):
        return bytes(body)
    gathered = bytearray(body)
    while message.get("more_body", False):
        message = await receive()
        gathered += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise InvalidInput("the body ended before it was whole: send it again")
    return gathered


def _timeout_s(settings: Settings, headers: Mapping[bytes, bytes]) -> float:
    given = headers.get(b"x-timeout-ms")
    if given is None:
        return settings.request_timeout_s
    text = given.strip()
    if not text.isdigit() or len(text) > _MOST_TIMEOUT_DIGITS or int(text) == 0:
        raise InvalidInput("X-Timeout-Ms takes a whole number of milliseconds above 0")
    return min(settings.request_timeout_s, int(text) / 1000)

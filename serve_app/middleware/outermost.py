"""
The first thing a request meets and the last thing a response passes, also where Serve answers.

Ray Serve loads ``middleware`` by RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH and wraps it around its
own ASGI application: headers that would steer Serve never reach it, and what it answers itself
leaves with our body and headers.  Predictions are answered from here, before Serve's own layers,
where the replica has said how (``direct``).  Without Serve the same class is first in the stack.
"""

import time

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.access_log import current_access_log
from cluster.errors import PlatformError
from cluster.request_context import RequestFacts, request_facts_var, request_id_var
from cluster.request_errors import BadRequest, HeadersTooLarge
from cluster.setting_sources import Role, load_settings
from cluster.settings import Settings
from serve_app.api.errors import error_response, foreign_response, is_v2
from serve_app.middleware import request_id
from serve_app.middleware.direct import direct_answers
from serve_app.middleware.edge import EDGE_HEADERS, EdgeTrust
from serve_app.middleware.security_headers import Header, SecurityHeaders

#: In the scope once a request has passed; holds its id.
PASSED = "slipway.request_id"
#: In the scope of the same; what comes to light about it.
FACTS = "slipway.facts"
#: In the scope of a request that came through the edge.
PROVEN = "slipway.is_edge_proven"
#: Headers that switch off or steer Serve's own machinery, dashes for underscores.
STEERING = frozenset(
    {
        b"x-request-timeout-seconds",
        b"x-request-disconnect-disabled",
        b"serve-multiplexed-model-id",
        b"x-session-id",
    }
)
#: Headers of which a second one is an attempt to be read in two ways.
SINGLE = frozenset(
    {
        b"host",
        b"authorization",
        b"x-api-key",
        b"content-length",
        b"content-type",
        b"content-encoding",
    }
)
#: As nginx and Serve call it where no answer was sent.
CLIENT_CLOSED = 499
MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 * 1024


def middleware() -> list[Middleware]:
    """What Ray Serve asks for in each process that has an HTTP server."""
    return [Middleware(Outermost, settings=load_settings(Role.INGRESS))]


class Outermost:
    """
    Request id, edge proof and steering on the way in; security headers on the way out.

    What passes it first is timed by it and written to the access log.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._edge = EdgeTrust.from_settings(settings)
        self._headers = SecurityHeaders(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; one that has passed before keeps what it was given then."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if PASSED in scope:
            restore_context(scope)
            await self._app(scope, receive, send)
            return
        started_s = time.perf_counter()
        error = _fault(scope["headers"])
        self._enter(scope)
        completed = _Completed(send, scope, self._headers)
        try:
            if error is not None:
                response = error_response(error, scope[PASSED], v2=is_v2(scope["path"]))
                await response(scope, receive, completed)
                return
            direct = direct_answers()
            if direct is None:
                await self._app(scope, receive, completed)
            else:
                await direct(scope, receive, completed, self._app)
        finally:
            _note(scope, completed.status, time.perf_counter() - started_s)

    def _enter(self, scope: Scope) -> None:
        kept: list[Header] = []
        forwarded: list[Header] = []
        presented: list[bytes] = []
        for header in scope["headers"]:
            name = header[0]
            if name in EDGE_HEADERS:
                forwarded.append(header)
            elif name == request_id.HEADER:
                presented.append(header[1])
            elif name.replace(b"_", b"-") not in STEERING:
                kept.append(header)
        chosen = request_id.choose_request_id(presented)
        # Serve echoes the id of the request's header, and logs it.
        kept.append((request_id.HEADER, chosen.encode("ascii")))
        scope["headers"] = kept
        scope[PASSED] = chosen
        scope[FACTS] = RequestFacts()
        restore_context(scope)
        if forwarded:
            origin = self._edge.origin(forwarded, scope.get("client"), scope["scheme"])
            scope["client"], scope["scheme"] = origin.client, origin.scheme
            scope[PROVEN] = origin.is_proven


def restore_context(scope: Scope) -> None:
    """Let this task know which request it handles; Serve may have begun another task since."""
    request_id_var.set(scope[PASSED])
    request_facts_var.set(scope[FACTS])


def _note(scope: Scope, status: int, seconds: float) -> None:
    log = current_access_log()
    if log is None:
        return
    facts: RequestFacts = scope[FACTS]
    if facts.route is None:
        facts.route = getattr(scope.get("route"), "path", None)
    log.note(
        method=scope["method"],
        path=scope["path"],
        status=status,
        seconds=seconds,
        request_id=scope[PASSED],
        facts=facts,
    )


class _Completed:
    """A ``send`` that completes headers and replaces error bodies that are not ours."""

    __slots__ = ("_headers", "_is_replaced", "_scope", "_send", "status")

    def __init__(self, send: Send, scope: Scope, headers: SecurityHeaders) -> None:
        self._send = send
        self._scope = scope
        self._headers = headers
        self._is_replaced = False
        self.status = CLIENT_CLOSED
        """Status that was sent; 499 where the caller went away before one was."""

    async def __call__(self, message: Message) -> None:
        """Pass a message on; the body of a replaced response is dropped."""
        if message["type"] == "http.response.start":
            await self._start(message)
        elif not self._is_replaced:
            await self._send(message)

    async def _start(self, message: Message) -> None:
        raw: list[Header] = list(message.get("headers", ()))
        if message["status"] >= 400 and self._is_foreign(raw):  # noqa: PLR2004 - errors begin there
            self._is_replaced = True
            # Names and ways back that a framework gave stay; what describes its body does not.
            kept = {
                name.decode("latin-1"): value.decode("latin-1")
                for name, value in raw
                if name in (b"allow", b"retry-after", b"vary", b"access-control-allow-origin")
            }
            response = foreign_response(message["status"], self._scope[PASSED], headers=kept)
            body = bytes(response.body)
            await self._send_start(message, response.status_code, response.raw_headers)
            await self._send({"type": "http.response.body", "body": body, "more_body": False})
            return
        await self._send_start(message, message["status"], raw)

    async def _send_start(self, message: Message, status: int, raw: list[Header]) -> None:
        self.status = status
        headers = self._headers.complete(raw, also_replaced=request_id.HEADER)
        headers.append((request_id.HEADER, self._scope[PASSED].encode("ascii")))
        await self._send({**message, "status": status, "headers": headers})

    def _is_foreign(self, headers: list[Header]) -> bool:
        if self._scope["path"].startswith("/-/"):
            # Serve's own health and routes, which HAProxy and the operator read.
            return False
        types = [value for name, value in headers if name == b"content-type"]
        return not types or not types[0].startswith(b"application/json")


def _fault(headers: list[Header]) -> PlatformError | None:
    size_bytes = 0
    singles = []
    for name, value in headers:
        size_bytes += len(name) + len(value)
        if name in SINGLE:
            singles.append(name)
    if size_bytes > MAX_HEADER_BYTES or len(headers) > MAX_HEADERS:
        return HeadersTooLarge("the request's headers are larger than allowed: send fewer")
    if len(singles) != len(set(singles)):
        return BadRequest("a header that may be sent once was sent twice: send it once")
    return None

"""
How many bytes a request body may have, by route, counted as they arrive.

A declared length over the bound is refused before a byte is read; a compressed body is inflated
here, within the same bound, and only where /v2 infer takes one.
"""

from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.errors import PlatformError, TooLarge
from cluster.request_context import request_id_var
from cluster.request_errors import BadRequest, UnsupportedMediaType
from cluster.settings import Settings
from serve_app.api.errors import error_response, is_v2
from serve_app.middleware.inflation import Inflation

#: An upload's other parts: at most 1 MiB of examples, names, and the multipart frame.
UPLOAD_EXTRA_BYTES = 2 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class BodyBounds:
    """Most bytes of a body by kind of route."""

    json_bytes: int
    binary_bytes: int
    upload_bytes: int

    @classmethod
    def from_settings(cls, settings: Settings) -> "BodyBounds":
        """What the settings allow."""
        return cls(
            json_bytes=settings.max_request_size,
            binary_bytes=settings.max_request_size_binary,
            upload_bytes=settings.max_upload_size + UPLOAD_EXTRA_BYTES,
        )

    def of(self, method: str, path: str) -> int:
        """The bound of one route."""
        path = path.rstrip("/")
        if is_infer(path):
            return self.binary_bytes
        return self.upload_bytes if is_upload(method, path) else self.json_bytes


def is_upload(method: str, path: str) -> bool:
    """Whether a request is an upload: a new model, or a new version of one."""
    path = path.rstrip("/")
    is_version = path.startswith("/api/v1/models/") and path.endswith("/versions")
    return method == "POST" and (is_version or path == "/api/v1/models")


def is_infer(path: str) -> bool:
    """Whether a path is an infer route of the Open Inference Protocol."""
    return path.startswith("/v2/models/") and path.rstrip("/").endswith("/infer")


class BodyLimit:
    """Refuses bodies over the bound of their route."""

    def __init__(self, app: ASGIApp, *, bounds: BodyBounds) -> None:
        self._app = app
        self._bounds = bounds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with a ``receive`` that keeps its bound."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            receive = self._bounded(scope, receive)
        except PlatformError as error:
            response = error_response(error, request_id_var.get(), v2=is_v2(scope["path"]))
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        length = encoding = None
        for name, value in scope["headers"]:
            if name == b"content-length":
                length = value
            elif name == b"content-encoding":
                encoding = value.strip().lower()
        bound = self._bounds.of(scope["method"], scope["path"])
        if length is not None and _declared(length) > bound:
            raise too_large(bound)
        if encoding not in (None, b"", b"identity"):
            return _inflated(scope, receive, encoding.decode("latin-1"), bound)
        # The server itself holds a body to the length that it declares.
        return receive if length is not None else _counted(receive, bound)


def too_large(bound: int) -> TooLarge:
    """The 413 that names the bound."""
    return TooLarge(
        f"the body is larger than {bound} bytes: send less, or ask the operator for more",
        bound=bound,
    )


def _declared(length: bytes) -> int:
    if not length.isdigit():
        raise BadRequest("Content-Length is not a number: correct it")
    return int(length)


def _counted(receive: Receive, bound: int) -> Receive:
    seen = 0

    async def counting_receive() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > bound:
            raise too_large(bound)
        return message

    return counting_receive


def _inflated(scope: Scope, receive: Receive, encoding: str, bound: int) -> Receive:
    if not is_infer(scope["path"]) or encoding not in Inflation.ENCODINGS:
        raise UnsupportedMediaType(
            f"this route does not take Content-Encoding {encoding[:40]!r}: send the body as it is"
        )
    inflation = Inflation(encoding, bound)
    # What the route reads is no longer compressed, and its length is not the declared one.
    scope["headers"] = [
        header
        for header in scope["headers"]
        if header[0] not in (b"content-encoding", b"content-length")
    ]

    async def inflating_receive() -> Message:
        message = await receive()
        if message["type"] != "http.request":
            return message
        is_last = not message.get("more_body", False)
        body = inflation.feed(message.get("body", b""), is_last=is_last)
        return {"type": "http.request", "body": body, "more_body": not is_last}

    return inflating_receive

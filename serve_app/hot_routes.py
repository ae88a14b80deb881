"""
The prediction routes, found by their prefix before the framework's layers are entered.

What a request meets here are the same middleware objects' classes, in the same order, over the
same route; left out are those that have nothing to do for it.  Whatever is not plainly a
prediction takes the long way, and looks the same to its caller.
"""

from collections.abc import Mapping

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.errors import PlatformError
from cluster.settings import Settings
from serve_app.api import open_inference, predict
from serve_app.api.errors import on_error
from serve_app.middleware.rate_limit_headers import RateLimitHeaders
from serve_app.middleware.stack import middleware_stack

#: Requests of pages take the long way; of what CORS does to the others, one header is left.
_CORS: object = CORSMiddleware
#: The route itself writes them.
_LIMIT_HEADERS: object = RateLimitHeaders
_MODELS, _PREDICT = "/api/v1/models/", "/predict"
_OLDER = "/api/v1/predict"
_V2, _VERSIONS, _INFER = "/v2/models/", "/versions/", "/infer"
Match = tuple[ASGIApp, Mapping[str, str]]


class HotRoutes:
    """
    An application that answers predictions at once and hands on everything else.

    Args:
        app: The whole application; its state has the services.
        settings: What its middleware was made from.
    """

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self._app = app
        short: ASGIApp = self._answer
        for layer in reversed(middleware_stack(settings)):
            if layer.cls is _CORS:
                short = _VaryByOrigin(short)
            elif layer.cls is not _LIMIT_HEADERS:
                short = layer.cls(short, *layer.args, **layer.kwargs)
        self._short = short

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a prediction; hand on lifespan, other paths and other methods."""
        found = find_route(scope)
        if found is None:
            await self._app(scope, receive, send)
            return
        endpoint, path_params = found
        scope["app"] = self._app
        scope["endpoint"] = endpoint
        scope["path_params"] = path_params
        await self._short(scope, receive, send)

    @staticmethod
    async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await scope["endpoint"](scope, receive, send)
        except PlatformError as error:
            response = await on_error(Request(scope), error)
            await response(scope, receive, send)


class _VaryByOrigin:
    """Says, as the CORS middleware does, that a page of another origin would be told more."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def varying_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"vary", b"Origin"))
            await send(message)

        await self._app(scope, receive, varying_send)


def find_route(scope: Scope) -> Match | None:
    """The endpoint and path parameters of a prediction; ``None`` for the long way."""
    if scope["type"] != "http" or scope["method"] != "POST" or scope.get("root_path"):
        return None
    found = _match(scope["path"])
    if found is None or any(name == b"origin" for name, _ in scope["headers"]):
        return None
    return found


def _match(path: str) -> Match | None:
    if path.startswith(_MODELS):
        model = path[len(_MODELS) : -len(_PREDICT)]
        if path.endswith(_PREDICT) and model and "/" not in model:
            return predict.by_path, {"model": model}
    elif path == _OLDER:
        return predict.by_body, {}
    elif path.startswith(_V2) and path.endswith(_INFER):
        model, separator, version = path[len(_V2) : -len(_INFER)].partition(_VERSIONS)
        if not model or "/" in model or "/" in version or bool(separator) != bool(version):
            return None
        named = {"model": model, "version": version} if version else {"model": model}
        return open_inference.infer, named
    return None

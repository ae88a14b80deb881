"""
The prediction routes, found by their prefix before the framework's layers are entered.

A request that is plainly a prediction (a host that we answer to, a length within the bound, no
page of another origin, nothing compressed) has nothing to expect of those layers; every other
takes the long way through them.  The rules are theirs, asked of the same classes.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fastapi import FastAPI
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from cluster.errors import PlatformError
from cluster.settings import Settings
from serve_app.api import open_inference, predict
from serve_app.api.errors import on_error
from serve_app.api.prediction_route import PredictionRoute, Reply
from serve_app.middleware.body_limit import BodyBounds, BodyLimit
from serve_app.middleware.https_redirect import HttpsRedirect
from serve_app.middleware.outermost import FACTS, PASSED, restore_context
from serve_app.middleware.stack import middleware_stack
from serve_app.middleware.trusted_hosts import TrustedHosts
from serve_app.middleware.unexpected_errors import UnexpectedErrors
from serve_app.services import Services

_MODELS, _PREDICT = "/api/v1/models/", "/predict"
_OLDER = "/api/v1/predict"
_V2, _VERSIONS, _INFER = "/v2/models/", "/versions/", "/infer"
_BY_PATH = f"{_MODELS}{{model}}{_PREDICT}"
_V2_MODEL = f"{_V2}{{model}}{_INFER}"
_V2_VERSION = f"{_V2}{{model}}{_VERSIONS}{{version}}{_INFER}"
#: What the CORS middleware leaves on an answer to a request that no page made.
_VARY = (b"vary", b"Origin")
_ERROR = "slipway.error"
#: Endpoint, path parameters, and the route's template as the long way names it.
Match = tuple[PredictionRoute, Mapping[str, str], str]


class Plain(NamedTuple):
    """A prediction that no layer would do anything about."""

    match: Match
    headers: Mapping[bytes, bytes]


class HotRoutes:
    """
    An application that answers predictions at once and hands on everything else.

    Args:
        app: The whole application; its state has the services.
        settings: What its middleware was made from.
    """

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self._app = app
        layers: dict[object, Any] = {
            layer.cls: layer.kwargs for layer in middleware_stack(settings)
        }
        self._hosts = TrustedHosts(app, **layers[TrustedHosts])
        self._bounds: BodyBounds = layers[BodyLimit]["bounds"]
        self._needs_tls = HttpsRedirect in layers
        self._unexpected = UnexpectedErrors(_raise_again, **layers[UnexpectedErrors])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a prediction; hand on lifespan, other paths and other methods."""
        plain = self.find_plain(scope)
        if plain is None:
            await self._app(scope, receive, send)
            return
        restore_context(scope)
        await self.answer(plain, scope, receive, send)

    def find_plain(self, scope: Scope) -> Plain | None:
        """What answers a request that is plainly a prediction; ``None`` for any other."""
        found = find_route(scope)
        if found is None:
            return None
        headers = dict(scope["headers"])
        return Plain(found, headers) if self._is_plain(scope, headers) else None

    async def answer(self, plain: Plain, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what ``find_plain`` found, in a task that knows its request."""
        scope["app"] = self._app
        services: Services = self._app.state.services
        (endpoint, path_params, scope[FACTS].route), headers = plain
        try:
            reply = await endpoint.reply(services, path_params, headers, receive)
        except PlatformError as error:
            response = await on_error(Request(scope), error)
            reply = Reply(response.status_code, response.raw_headers, bytes(response.body))
        except Exception as error:  # noqa: BLE001 - the last net, which is the long way's
            scope[_ERROR] = error
            await self._unexpected(scope, receive, send)
            return
        reply.headers.append(_VARY)
        await reply.send(send)

    def _is_plain(self, scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
        """Whether no layer would do anything about this request."""
        length, host = headers.get(b"content-length", b""), headers.get(b"host", b"")
        return (
            PASSED in scope
            and length.isdigit()
            and int(length) <= self._bounds.of("POST", scope["path"])
            and b"origin" not in headers
            and b"content-encoding" not in headers
            and not (self._needs_tls and scope["scheme"] == "http")
            and self._hosts.allows(host)
        )


async def _raise_again(scope: Scope, _receive: Receive, _send: Send) -> None:
    error: Exception = scope[_ERROR]
    raise error


def find_route(scope: Scope) -> Match | None:
    """Endpoint, path parameters and template of a prediction; ``None`` for any other request."""
    if scope["type"] != "http" or scope["method"] != "POST" or scope.get("root_path"):
        return None
    return _match(scope["path"])


def _match(path: str) -> Match | None:
    if path.startswith(_MODELS):
        model = path[len(_MODELS) : -len(_PREDICT)]
        if path.endswith(_PREDICT) and model and "/" not in model:
            return predict.by_path, {"model": model}, _BY_PATH
    elif path == _OLDER:
        return predict.by_body, {}, _OLDER
    elif path.startswith(_V2) and path.endswith(_INFER):
        model, separator, version = path[len(_V2) : -len(_INFER)].partition(_VERSIONS)
        if not model or "/" in model or "/" in version or bool(separator) != bool(version):
            return None
        if version:
            named = {"model": model, "version": version}
            return open_inference.infer, named, _V2_VERSION
        return open_inference.infer, {"model": model}, _V2_MODEL
    return None

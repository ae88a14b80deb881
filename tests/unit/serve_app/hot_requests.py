"""An application with predictions of every kind, and requests that it takes or refuses."""

from types import SimpleNamespace
from typing import Any

import httpx
from fastapi import FastAPI
from starlette.types import ASGIApp

from cluster.errors import ModelUnavailable, PlatformError, RateLimited
from cluster.settings import Settings
from serve_app.api import errors, open_inference, predict
from serve_app.coalescing import Coalescer
from serve_app.hot_routes import HotRoutes
from serve_app.inference import Inference
from serve_app.middleware.outermost import Outermost
from serve_app.middleware.stack import middleware_stack
from serve_app.security.decisions import Decision, rate_limit_headers
from serve_app.security.principals import Principal
from tests.unit.serve_app.predicting import (
    FunctionPredictors,
    TableCatalog,
    _Identities,
    double,
    resolved,
    signature,
)

API, OLDER, V2 = "/api/v1/models/m/predict", "/api/v1/predict", "/v2/models/m/infer"
ROW = [1.5, 0, 0]
TENSOR = {"name": "x", "shape": [1, 3], "datatype": "FP64", "data": ROW}
KEY = {"X-API-Key": "good", "X-Request-ID": "request-1"}


class Limits:
    """Lets pass, or refuses whoever asks for it."""

    def __init__(self) -> None:
        self.is_spent = False

    def try_take(self, _principal: Principal, route_class: str) -> Decision | None:
        return None if self.is_spent else Decision(route_class, 100, 99)

    async def check(self, _principal: Principal, route_class: str) -> Decision:
        headers = rate_limit_headers(route_class, 100, 0, 30)
        raise RateLimited("wait", retry_after_s=30, headers=headers)


def broken(_method: str, _batch: Any) -> Any:
    raise ZeroDivisionError("a secret detail")


def away(_method: str, _batch: Any) -> Any:
    raise ModelUnavailable("try again", retry_after_s=5)


def ours(_method: str, _batch: Any) -> Any:
    raise PlatformError("internal detail")


def application(made: Settings) -> FastAPI:
    models = {"m": double, "broken": broken, "away": away, "ours": ours}
    versions = [resolved(name, signature()) for name in models]
    versions.append(resolved("held", signature(), status="quarantined"))
    predictors = FunctionPredictors({f"id-of-{name}": model for name, model in models.items()})
    app = FastAPI(openapi_url=None, middleware=middleware_stack(made))
    app.state.services = SimpleNamespace(
        settings=made,
        identities=_Identities(),
        limits=Limits(),
        inference=Inference(catalog=TableCatalog(versions), coalescer=Coalescer(predictors)),
        predictors=predictors,
        is_draining=False,
    )
    app.router.routes.extend([*predict.routes, *open_inference.routes])
    errors.install(app)
    return app


async def sent(app: ASGIApp, request: dict[str, Any]) -> httpx.Response:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("10.9.9.9", 1234))
    base_url = request.get("base_url", "http://testserver")
    async with httpx.AsyncClient(transport=transport, base_url=base_url) as client:
        return await client.request(
            request.get("method", "POST"),
            request.get("path", API),
            headers=KEY | request.get("headers", {}),
            content=request.get("content"),
            json=request.get("json"),
        )


def instances(path: str = API, **more: Any) -> dict[str, Any]:
    return {"path": path, "json": {"instances": [ROW]}, **more}


REQUESTS: dict[str, dict[str, Any]] = {
    "a prediction": instances(),
    "by id": instances("/api/v1/models/id-of-m/predict"),
    "the older shape": {"path": OLDER, "json": {"model_id": "m", "input_data": ROW}},
    "open inference": {"path": V2, "json": {"inputs": [TENSOR]}},
    "open inference, a version": {
        "path": "/v2/models/m/versions/1/infer",
        "json": {"inputs": [TENSOR], "id": "7"},
    },
    "an id of ours": instances(headers={"X-Request-ID": "no good!"}),
    "no credential": instances(headers={"X-API-Key": "bad"}),
    "two credentials' worth of headers": instances(headers={"Authorization": "Bearer good"}),
    "no JSON": {"content": b"{"},
    "a bad row": {"json": {"instances": [["a", 0, 0]]}},
    "a bad tensor": {"path": V2, "json": {"inputs": [{**TENSOR, "shape": [2, 3]}]}},
    "an unknown member": {"json": {"instances": [ROW], "extra": 1}},
    "no such model": instances("/api/v1/models/none/predict"),
    "no such model, v2": {"path": "/v2/models/none/infer", "json": {"inputs": [TENSOR]}},
    "held back": instances("/api/v1/models/held/predict"),
    "a model away": instances("/api/v1/models/away/predict"),
    "an error of ours": instances("/api/v1/models/ours/predict"),
    "an unexpected error": instances("/api/v1/models/broken/predict"),
    "an unexpected error, v2": {"path": "/v2/models/broken/infer", "json": {"inputs": [TENSOR]}},
    "a foreign host": instances(base_url="http://evil.example"),
    "a long body": {"content": b" " * 3000},
    "a wrong length": {"content": b"{}", "headers": {"Content-Length": "x"}},
    "a compressed body": {"content": b"x", "headers": {"Content-Encoding": "gzip"}},
    "a bad deadline": instances(headers={"X-Timeout-Ms": "soon"}),
    "another page": instances(headers={"Origin": "http://localhost:3000"}),
    "a foreign page": instances(headers={"Origin": "http://evil.example"}),
    "forwarded": instances(headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "1.2.3.4"}),
    "steering": instances(headers={"X-Request-Timeout-Seconds": "0"}),
    "a GET": {"method": "GET"},
    "an unknown path": instances("/api/v1/models/m/x/predict"),
    "a final slash": instances(API + "/"),
    "an encoded slash": instances("/api/v1/models/a%2Fb/predict"),
    "a preflight": {
        "method": "OPTIONS",
        "headers": {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"},
    },
}


def hot_application(app: FastAPI, made: Settings) -> ASGIApp:
    """As Serve runs it: the outermost middleware stands before."""
    return Outermost(HotRoutes(app, made), settings=made)

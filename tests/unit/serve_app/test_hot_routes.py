"""Both ways through the application, the long one and the short one, look the same to a caller."""

from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.errors import ModelUnavailable, PlatformError, RateLimited
from cluster.settings import Settings
from serve_app.api import errors, open_inference, predict
from serve_app.coalescing import Coalescer
from serve_app.hot_routes import HotRoutes, find_route
from serve_app.inference import Inference
from serve_app.middleware.outermost import Outermost
from serve_app.middleware.stack import middleware_stack
from serve_app.security.decisions import Decision, rate_limit_headers
from serve_app.security.principals import Principal
from tests.unit.serve_app.middleware.door import production, settings
from tests.unit.serve_app.predicting import (
    FunctionPredictors,
    TableCatalog,
    _Identities,
    double,
    resolved,
    signature,
)

pytestmark = pytest.mark.anyio
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


async def compare(made: Settings, request: dict[str, Any], *, is_spent: bool = False) -> None:
    app = application(made)
    app.state.services.limits.is_spent = is_spent
    long, short = await sent(app, request), await sent(hot_application(app, made), request)
    if "request-1" not in long.headers["X-Request-ID"]:
        own = long.headers["X-Request-ID"], short.headers["X-Request-ID"]
        assert own[0] != own[1]
        long.headers["X-Request-ID"] = short.headers["X-Request-ID"]
        long._content = long.content.replace(own[0].encode(), own[1].encode())

    assert short.status_code == long.status_code
    assert sorted(short.headers.multi_items()) == sorted(long.headers.multi_items())
    assert short.content == long.content


@pytest.mark.parametrize("name", REQUESTS)
async def test_both_ways_answer_alike(name: str) -> None:
    await compare(settings(max_request_size=2048), REQUESTS[name])


@pytest.mark.parametrize("name", ["a prediction", "a foreign host", "a final slash", "forwarded"])
@pytest.mark.parametrize("base_url", ["http://api.example.org", "https://api.example.org"])
async def test_both_ways_answer_alike_in_production(name: str, base_url: str) -> None:
    await compare(production(), {"base_url": base_url, **REQUESTS[name]})


@pytest.mark.parametrize("name", ["a prediction", "open inference"])
async def test_both_ways_refuse_a_spent_limit_alike(name: str) -> None:
    await compare(settings(), REQUESTS[name], is_spent=True)


async def test_predictions_do_not_enter_the_application_and_all_else_does() -> None:
    made = settings()
    app = application(made)
    entered: list[str] = []

    class Noting(FastAPI):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            entered.append(scope["path"])
            await app(scope, receive, send)

    noting = Noting()
    noting.state.services = app.state.services
    hot = hot_application(noting, made)
    for name in ("a prediction", "the older shape", "open inference", "a bad row"):
        await sent(hot, REQUESTS[name])
    assert entered == []
    await sent(hot, REQUESTS["a GET"])
    await sent(hot, REQUESTS["another page"])

    assert entered == [API, API]


async def test_the_lifespan_is_the_applications() -> None:
    made = settings()
    seen: list[Message] = []
    messages = [{"type": "lifespan.shutdown"}, {"type": "lifespan.startup"}]

    async def receive() -> Message:
        return messages.pop()

    async def send(message: Message) -> None:
        seen.append(message)

    await HotRoutes(application(made), made)({"type": "lifespan"}, receive, send)

    assert [message["type"] for message in seen] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/models/predict",
        "/api/v1/models//predict",
        "/api/v1/models/a/b/predict",
        "/v2/models//infer",
        "/v2/models/a/b/infer",
        "/v2/models/a/versions//infer",
        "/v2/models/a/versions/1/2/infer",
        "/v2/models/infer",
        "/v2/models/versions/1/infer",
    ],
)
def test_what_is_not_plainly_a_prediction_takes_the_long_way(path: str) -> None:
    scope: Scope = {"type": "http", "method": "POST", "path": path, "headers": []}

    assert find_route(scope) is None

"""Both ways through the application, the long one and the short one, look the same to a caller."""

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from cluster.settings import Settings
from serve_app.hot_routes import HotRoutes, find_route
from tests.unit.serve_app.hot_requests import API, REQUESTS, application, hot_application, sent
from tests.unit.serve_app.middleware.door import production, settings

pytestmark = pytest.mark.anyio


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

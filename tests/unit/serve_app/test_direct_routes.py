"""Predictions answered before Serve's layers: what takes that way, and who may go away from it."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.direct_routes import DirectRoutes
from serve_app.hot_routes import HotRoutes
from serve_app.middleware.direct import install_direct_answers
from serve_app.middleware.outermost import Outermost
from tests.unit.serve_app.hot_requests import API, KEY, REQUESTS, ROW, application, sent
from tests.unit.serve_app.middleware.door import settings

pytestmark = pytest.mark.anyio
MADE = settings(max_request_size=2048)
BODY = json.dumps({"instances": [ROW]}).encode()


class Serve:
    """Stands for Serve's layers: notes what enters them, and hands it to the replica."""

    def __init__(self, replica: ASGIApp) -> None:
        self._replica = replica
        self.entered: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.entered.append(scope["path"])
        await self._replica(scope, receive, send)


class Replica:
    """An Ingress replica: Serve around it, the outermost middleware around Serve."""

    def __init__(self, app: FastAPI, **bounds: Any) -> None:
        hot = HotRoutes(app, MADE)
        self.serve = Serve(hot)
        self.outermost = Outermost(self.serve, settings=MADE)
        self.predictors = app.state.services.predictors
        install_direct_answers(DirectRoutes(hot, **bounds))


@pytest.fixture
def replica() -> Iterator[Replica]:
    yield Replica(application(MADE))
    install_direct_answers(None)


def whole(app: ASGIApp) -> ASGIApp:
    """The application behind a server that hands a body on once it is whole, as uvicorn does."""

    async def joined(scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while (message := await receive()).get("more_body", False):
            body += message["body"]
        messages = [{**message, "body": body + message["body"]}]

        async def next_message() -> Message:
            return messages.pop() if messages else await receive()

        await app(scope, next_message, send)

    return joined


class Call:
    """One request in a task of its own, whose caller may go away."""

    def __init__(self, app: ASGIApp, *parts: bytes) -> None:
        self.sent: list[Message] = []
        self.parts = [*parts]
        self.is_gone = asyncio.Event()
        self.task = asyncio.create_task(self._run(app, sum(map(len, parts))))

    async def _run(self, app: ASGIApp, length: int) -> None:
        given = KEY | {"Host": "testserver", "Content-Length": str(length)}
        scope = {
            "type": "http",
            "method": "POST",
            "path": API,
            "scheme": "http",
            "client": ("10.9.9.9", 1234),
            "headers": [(k.lower().encode(), v.encode()) for k, v in given.items()],
        }

        async def send(message: Message) -> None:
            self.sent.append(message)

        await app(scope, self._receive, send)

    async def _receive(self) -> Message:
        if self.parts:
            part = self.parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(self.parts)}
        await self.is_gone.wait()
        return {"type": "http.disconnect"}

    @property
    def status(self) -> int:
        """Of the answer."""
        status: int = self.sent[0]["status"]
        return status

    @property
    def answer(self) -> Any:
        """The document that was sent."""
        return json.loads(b"".join(message.get("body", b"") for message in self.sent[1:]))


async def reaches_predictor(replica: Replica) -> None:
    async with asyncio.timeout(5):
        while not replica.predictors.calls:  # noqa: ASYNC110 - a list, which tells nobody
            await asyncio.sleep(0)


@pytest.mark.parametrize("name", REQUESTS)
async def test_both_ways_answer_alike(replica: Replica, name: str) -> None:
    direct = await sent(whole(replica.outermost), REQUESTS[name])
    install_direct_answers(None)
    through_serve = await sent(whole(replica.outermost), REQUESTS[name])
    own = direct.headers["X-Request-ID"], through_serve.headers["X-Request-ID"]

    assert direct.status_code == through_serve.status_code
    assert direct.content.replace(own[0].encode(), own[1].encode()) == through_serve.content
    direct.headers["X-Request-ID"] = own[1]
    assert sorted(direct.headers.multi_items()) == sorted(through_serve.headers.multi_items())


@pytest.mark.parametrize("name", ["a prediction", "the older shape", "open inference", "a bad row"])
async def test_whole_predictions_do_not_enter_serve(replica: Replica, name: str) -> None:
    await sent(whole(replica.outermost), REQUESTS[name])

    assert replica.serve.entered == []


@pytest.mark.parametrize("name", ["a GET", "another page", "an unknown path", "a long body"])
async def test_all_else_enters_serve(replica: Replica, name: str) -> None:
    await sent(whole(replica.outermost), REQUESTS[name])

    assert len(replica.serve.entered) == 1


async def test_a_body_in_pieces_is_read_whole_by_serve(replica: Replica) -> None:
    call = Call(replica.outermost, BODY[:7], BODY[7:20], BODY[20:])
    await call.task

    assert replica.serve.entered == [API]
    assert call.answer["predictions"] == [2 * ROW[0]]


async def test_a_body_that_is_late_is_read_whole_by_serve(replica: Replica) -> None:
    arrived = asyncio.Event()

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        async def waiting() -> Message:
            await arrived.wait()
            return await receive()

        await replica.outermost(scope, waiting, send)

    call = Call(late, BODY)
    while not replica.serve.entered:  # noqa: ASYNC110 - a list, which tells nobody
        await asyncio.sleep(0)
    arrived.set()
    await call.task

    assert call.answer["predictions"] == [2 * ROW[0]]


async def test_who_waits_for_a_predictor_is_answered(replica: Replica) -> None:
    replica.predictors.gate.clear()
    call = Call(replica.outermost, BODY)
    await reaches_predictor(replica)
    replica.predictors.gate.set()
    await call.task

    assert call.answer["predictions"] == [2 * ROW[0]]
    assert replica.serve.entered == []


async def test_who_goes_away_is_worked_for_no_longer(replica: Replica) -> None:
    replica.predictors.gate.clear()
    travelling = Call(replica.outermost, BODY)
    await reaches_predictor(replica)
    # These two wait for it to come back, and would travel together.
    waiting = [Call(replica.outermost, BODY) for _ in range(2)]
    waiting[0].is_gone.set()
    await waiting[0].task
    replica.predictors.gate.set()
    await asyncio.gather(travelling.task, waiting[1].task)

    assert waiting[0].sent == []
    assert [call.status for call in (travelling, waiting[1])] == [200, 200]
    assert [call.batch.rows for call in replica.predictors.calls] == [1, 1]


async def test_a_cancellation_by_the_server_is_not_swallowed(replica: Replica) -> None:
    replica.predictors.gate.clear()
    call = Call(replica.outermost, BODY)
    await reaches_predictor(replica)
    call.task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call.task


async def test_more_than_may_wait_are_shed_at_once() -> None:
    replica = Replica(application(MADE), most_open=2)
    try:
        replica.predictors.gate.clear()
        waiting = [Call(replica.outermost, BODY) for _ in range(2)]
        await reaches_predictor(replica)
        shed = Call(replica.outermost, BODY)
        await shed.task
        replica.predictors.gate.set()
        await asyncio.gather(*(call.task for call in waiting))
        after = Call(replica.outermost, BODY)
        await after.task
    finally:
        install_direct_answers(None)

    assert shed.status == 503
    assert shed.answer["code"] == "overloaded"
    assert (b"retry-after", b"1") in shed.sent[0]["headers"]
    assert [call.status for call in (*waiting, after)] == [200] * 3


async def test_what_the_loop_comes_to_too_late_in_a_turn_is_shed() -> None:
    now_s = iter((0.0, 0.19, 0.21, 5.0))
    replica = Replica(application(MADE), clock=lambda: next(now_s))
    try:
        # Three that are there at once, and one that comes in a later turn.
        together = [Call(replica.outermost, BODY) for _ in range(3)]
        await asyncio.gather(*(call.task for call in together))
        later = Call(replica.outermost, BODY)
        await later.task
    finally:
        install_direct_answers(None)

    assert [call.status for call in together] == [200, 200, 503]
    assert later.status == 200

"""
Predictions answered before Ray Serve's layers are entered: no task, no timer, no wait a request.

Serve wraps each request in a task of its own, a second one that watches for its caller to go, and a
timer; half of what a small prediction costs (docs/benchmarks.md).  One whose body is there at once
needs none of them: it is begun in the server's own task, and only where it has to wait, for a
Predictor or a database, is its caller watched.  Everything else takes Serve's way, unread.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.errors import Overloaded
from serve_app.api.errors import error_response, is_v2
from serve_app.hot_routes import HotRoutes, Plain
from serve_app.middleware.outermost import PASSED
from serve_app.started import Started

#: Predictions that wait in one replica at a time: as many as Serve would let in and let wait by
#: serve_config.yaml.  Where they wait for a Predictor the coalescer's own bounds come first.
MOST_OPEN = 768
#: Seconds of a core for which the event loop answers predictions without a look at anything else;
#: what comes later in that turn is shed.  Three thousand connections that all asked at once kept
#: replicas from answering HAProxy's checks, which took them for dead.  HAProxy hands over fewer
#: now; this is for whoever asks replicas directly.  By the clock on the wall a replica that was
#: kept from its core for half a second shed 13 of 181,411.
MOST_TURN_S = 0.2


class DirectRoutes:
    """
    What the outermost middleware asks first.

    Args:
        hot: The application of this replica.
        most_open: Predictions that may wait here at a time; the next one is shed.
        clock: Of the seconds that this thread has had of a core.
    """

    def __init__(
        self,
        hot: HotRoutes,
        *,
        most_open: int = MOST_OPEN,
        clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self._hot = hot
        self._most_open = most_open
        self._clock = clock
        self._open = 0
        self._turn_began_s: float | None = None

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, otherwise: ASGIApp
    ) -> None:
        """Answer a plain prediction whose body is there; leave any other request to the rest."""
        plain = self._hot.find_plain(scope)
        if plain is None:
            await otherwise(scope, receive, send)
            return
        first: Started[Message] = Started(_message(receive))
        if not first.is_done or not _is_whole(first.result):
            await otherwise(scope, _Continued(first, receive), send)
            return
        answer = Started(self._answer(plain, scope, _Read(first.result), send))
        if not answer.is_done:
            await self._wait_for(answer, receive)

    async def _answer(self, plain: Plain, scope: Scope, receive: Receive, send: Send) -> None:
        if self._open < self._most_open and self._turn_s() <= MOST_TURN_S:
            await self._hot.answer(plain, scope, receive, send)
            return
        shed = Overloaded("too many requests wait here: try again", retry_after_s=1)
        response = error_response(shed, scope[PASSED], v2=is_v2(scope["path"]))
        await response(scope, receive, send)

    def _turn_s(self) -> float:
        """Seconds since the first prediction of this turn of the event loop."""
        now_s = self._clock()
        if self._turn_began_s is None:
            self._turn_began_s = now_s
            asyncio.get_running_loop().call_soon(self._end_turn)
        return now_s - self._turn_began_s

    def _end_turn(self) -> None:
        self._turn_began_s = None

    async def _wait_for(self, answer: Started[None], receive: Receive) -> None:
        caller = _Caller(receive)
        watching = asyncio.create_task(caller.watch())
        self._open += 1
        try:
            await answer
        except asyncio.CancelledError:
            if not caller.is_gone or caller.task.uncancel():
                raise
        finally:
            self._open -= 1
            watching.cancel()


class _Caller:
    """Whoever waits for the answer that the present task makes."""

    __slots__ = ("_receive", "is_gone", "task")

    def __init__(self, receive: Receive) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("requests are answered in tasks")
        self.task: asyncio.Task[Any] = task
        self.is_gone = False
        self._receive = receive

    async def watch(self) -> None:
        """Cancel the task once the caller has gone."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.is_gone = True
        self.task.cancel()


async def _message(receive: Receive) -> Message:
    return await receive()


def _is_whole(message: Message) -> bool:
    return message["type"] == "http.request" and not message.get("more_body", False)


class _Read:
    """A ``receive`` of one message, which was read already."""

    __slots__ = ("_message",)

    def __init__(self, message: Message) -> None:
        self._message = message

    async def __call__(self) -> Message:
        """The whole body."""
        return self._message


class _Continued:
    """A ``receive`` whose first message was asked for already."""

    def __init__(self, first: Started[Message], receive: Receive) -> None:
        self._first: Started[Message] | None = first
        self._receive = receive

    async def __call__(self) -> Message:
        """The next message."""
        if self._first is None:
            return await self._receive()
        first, self._first = self._first, None
        return await first

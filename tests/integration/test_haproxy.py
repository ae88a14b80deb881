"""What Serve writes for HAProxy, bounded by our program, in a real HAProxy before real servers."""

import asyncio
import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from cluster.haproxy import Bounds, bounded, program_path
from cluster.ports import free_block
from tests.integration.edge.upstreams import Received, raw_server, response, uvicorn_server
from tests.integration.haproxies import Place, application, replica

PREDICT = "/api/v1/models/iris/predict"


@dataclass
class Replica:
    """Answers once it is told to; what has arrived is noted in its order."""

    arrived: list[str] = field(default_factory=list)
    has_arrived: threading.Event = field(default_factory=threading.Event)
    may_answer: threading.Event = field(default_factory=threading.Event)

    def application(self) -> Starlette:
        """HAProxy's checks are answered at any time."""

        async def answer(request: Request) -> PlainTextResponse:
            self.arrived.append(request.url.path)
            self.has_arrived.set()
            await asyncio.to_thread(self.may_answer.wait, 30)
            return PlainTextResponse("answer")

        async def check(_: Request) -> PlainTextResponse:
            return PlainTextResponse("success")

        return Starlette(
            routes=[
                Route("/-/healthz", check),
                Route("/{path:path}", answer, methods=["POST"]),
            ]
        )


@contextlib.contextmanager
def haproxy(directory: Path, port: int, bounds: Bounds) -> Iterator[httpx.Client]:
    """A client of a HAProxy that hands on to the replica at ``port``."""
    place = Place.at(directory)
    with place.running(bounded(place.write(application(replica(port))), bounds)) as client:
        yield client


def queued(directory: Path) -> int:
    """Requests that wait in HAProxy for their replica."""
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(str(directory / "admin.sock"))
        asked.sendall(b"show stat\n")
        told = b"".join(iter(lambda: asked.recv(65536), b"")).decode()
    (line,) = [line for line in told.splitlines() if line.startswith("app,BACKEND,")]
    return int(line.split(",")[2])


def await_queued(directory: Path, count: int) -> None:
    while queued(directory) < count:
        pass


@dataclass(frozen=True)
class Busy:
    """A HAProxy whose one replica holds ``first``, a prediction, until it may answer."""

    client: httpx.Client
    replica: Replica
    first: "Future[httpx.Response]"


@contextlib.contextmanager
def busy(directory: Path, threads: ThreadPoolExecutor, bounds: Bounds) -> Iterator[Busy]:
    """One that hands on under these bounds, once the first prediction is with its replica."""
    replica = Replica()
    with (
        uvicorn_server(replica.application()) as port,
        haproxy(directory, port, bounds) as client,
    ):
        first = threads.submit(client.post, PREDICT)
        assert replica.has_arrived.wait(20)
        yield Busy(client, replica, first)


class TestBounds:
    @pytest.fixture
    def threads(self) -> Iterator[ThreadPoolExecutor]:
        with ThreadPoolExecutor(8) as pool:
            yield pool

    def test_what_is_beyond_them_is_refused_at_once(
        self, tmp_path: Path, threads: ThreadPoolExecutor
    ) -> None:
        with busy(tmp_path, threads, Bounds(handed=1, waiting=1, wait_s=20)) as door:
            second = threads.submit(door.client.post, PREDICT)
            await_queued(tmp_path, 1)
            third = door.client.post(PREDICT, headers={"Content-Type": "application/json"})
            door.replica.may_answer.set()

            assert third.status_code == 503
            assert third.headers["Retry-After"] == "1"
            assert third.headers["X-Content-Type-Options"] == "nosniff"
            assert third.json() == {
                "error": "more predictions wait than can be answered: try again",
                "code": "overloaded",
                "request_id": third.headers["X-Request-ID"],
            }
            assert (door.first.result().status_code, second.result().status_code) == (200, 200)

    def test_whoever_waits_too_long_is_told(
        self, tmp_path: Path, threads: ThreadPoolExecutor
    ) -> None:
        with busy(tmp_path, threads, Bounds(handed=1, waiting=10, wait_s=1)) as door:
            second = door.client.post(PREDICT)
            door.replica.may_answer.set()

            assert second.status_code == 503
            assert second.headers["Retry-After"] == "1"
            assert second.json()["code"] == "replica_unavailable"
            assert door.first.result().status_code == 200

    def test_a_login_goes_before_predictions_that_wait(
        self, tmp_path: Path, threads: ThreadPoolExecutor
    ) -> None:
        with busy(tmp_path, threads, Bounds(handed=1, waiting=2, wait_s=20)) as door:
            waiting = []
            for n, path in enumerate([PREDICT, PREDICT, "/api/v1/auth/login"], start=1):
                waiting.append(threads.submit(door.client.post, path))
                await_queued(tmp_path, n)
            door.replica.may_answer.set()

            assert [one.result().status_code for one in [door.first, *waiting]] == [200] * 4
            assert door.replica.arrived == [PREDICT, "/api/v1/auth/login", PREDICT, PREDICT]


class TestAnswersCutShort:
    """A replica that dies between the head of its answer and the body."""

    @pytest.fixture
    def dying(self) -> Iterator[int]:
        head = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n"

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            line = await reader.readline()
            while await reader.readline() != b"\r\n":
                pass
            writer.write(head + (b"answer" if b"healthz" in line else b"ans"))
            await writer.drain()
            writer.close()

        loop = asyncio.new_event_loop()
        server = loop.run_until_complete(asyncio.start_server(answer, "127.0.0.1", 0))
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        yield server.sockets[0].getsockname()[1]
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def test_of_a_prediction_nothing_has_left_so_that_the_edge_asks_again(
        self, tmp_path: Path, dying: int
    ) -> None:
        with haproxy(tmp_path, dying, Bounds()) as client:
            answer = client.post(PREDICT)

            assert answer.status_code == 502
            assert answer.json()["code"] == "replica_unavailable"
            assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


class TestReplicasThatAreGone:
    """As the old process of a HAProxy knows them after a rolling update."""

    @pytest.mark.parametrize(("path", "status"), [(PREDICT, 502), ("/api/v1/models", 503)])
    def test_of_a_prediction_the_edge_is_told_to_ask_the_others(
        self, tmp_path: Path, path: str, status: int
    ) -> None:
        with haproxy(tmp_path, free_block(1), Bounds()) as client:
            answer = client.post(path)

            assert answer.status_code == status
            assert answer.headers["Retry-After"] == "1"
            assert answer.json()["code"] == "replica_unavailable"


class TestRefusals:
    """The application's own."""

    def test_one_reaches_its_caller_as_it_is(self, tmp_path: Path) -> None:
        def reply(request: Received) -> bytes:
            if "healthz" in request.line:
                return response("200 OK", '"success"')
            return response("503 Service Unavailable", '{"code":"model_quarantined"}')

        with raw_server(reply) as server, haproxy(tmp_path, server.port, Bounds()) as client:
            answer = client.post(PREDICT)

            assert answer.status_code == 503
            assert answer.json() == {"code": "model_quarantined"}


class TestProgram:
    def test_haproxy_takes_what_it_made_of_serves_configuration(self, tmp_path: Path) -> None:
        place = Place.at(tmp_path)
        given = place.write(application(replica(1)))
        program = program_path()
        assert program is not None
        checked = subprocess.run(
            [program, "-c", "-f", place.path], check=False, capture_output=True
        )

        assert checked.returncode == 0, checked.stderr
        assert place.path.read_text(encoding="utf-8") == bounded(given)
        assert f"maxconn {Bounds().handed}" in bounded(given)

    def test_its_own_log_goes_only_where_somebody_asked_for_it(self, tmp_path: Path) -> None:
        given = Place.at(tmp_path).write(application(replica(1)))

        assert "log 127.0.0.1:514" in bounded(given, is_logged=True)
        assert "log 127.0.0.1:514" not in bounded(given)

    def test_it_changes_nothing_twice(self, tmp_path: Path) -> None:
        once = bounded(Place.at(tmp_path).write(application(replica(1))))

        assert bounded(once) == once

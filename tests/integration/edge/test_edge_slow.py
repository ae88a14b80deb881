"""Clients that take their time, and clients that send no end of headers or bytes."""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.integration.edge.conftest import BOUND
from tests.integration.edge.nginx import HOST, Edge, parsed

pytestmark = pytest.mark.nginx
#: The fixture's bounds of 1 s, and what a busy machine adds.
IN_TIME_S = 8.0
HEAD = f"POST /api/v1/predict HTTP/1.1\r\nHost: {HOST}\r\n".encode()


def closed_after_s(connection: socket.socket, drip: Callable[[], None] | None = None) -> float:
    """Seconds until the edge closes; ``drip`` is called every fifth of a second meanwhile."""
    began = time.monotonic()
    connection.settimeout(0.2)
    while time.monotonic() - began < 2 * IN_TIME_S:
        try:
            if not connection.recv(65536):
                break
        except TimeoutError:
            if drip is not None:
                with contextlib.suppress(OSError):
                    drip()
        except OSError:
            break
    return time.monotonic() - began


@contextlib.contextmanager
def plain(edge: Edge) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", edge.https_port), 10) as connection:
        yield connection


def test_a_connection_that_says_nothing_is_closed(edge: Edge) -> None:
    with plain(edge) as connection:
        assert closed_after_s(connection) < IN_TIME_S


def test_headers_that_stop_are_closed(edge: Edge) -> None:
    with edge.connection() as connection:
        connection.sendall(HEAD)

        assert closed_after_s(connection) < IN_TIME_S


def test_headers_that_drip_are_closed(edge: Edge) -> None:
    with edge.connection() as connection:
        connection.sendall(HEAD)

        assert closed_after_s(connection, lambda: connection.sendall(b"X-A: b\r\n")) < IN_TIME_S


def test_a_body_that_stops_is_closed(edge: Edge) -> None:
    with edge.connection() as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\nhalf of it")

        assert closed_after_s(connection) < IN_TIME_S


def test_a_chunk_that_never_ends_is_closed(edge: Edge) -> None:
    with edge.connection() as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\nhalf")

        assert closed_after_s(connection) < IN_TIME_S


def test_endless_chunks_are_refused_at_the_bound(edge: Edge) -> None:
    chunk = b"400\r\n" + b"x" * 1024 + b"\r\n"
    sent = 0
    with edge.connection() as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            for _ in range(10_000):
                connection.sendall(chunk)
                sent += 1024
        received = b""
        with contextlib.suppress(OSError):
            while piece := connection.recv(65536):
                received += piece

    assert sent > BOUND
    assert not received or parsed(received).status_code == 413


def test_a_length_over_the_bound_is_refused_before_the_body(edge: Edge) -> None:
    with edge.connection() as connection:
        connection.sendall(HEAD + b"Content-Length: 99999999999\r\n\r\n")

        answer = parsed(connection.recv(65536))

    assert answer.status_code == 413


def test_a_flood_of_headers_costs_bounded_memory(edge: Edge) -> None:
    before = edge.resident_bytes()
    with ExitStack() as stack:
        for _ in range(50):
            connection = stack.enter_context(edge.connection())
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                for _ in range(64):
                    connection.sendall(b"GET / HTTP/1.1\r\n" + b"X-A: " + b"y" * 1000 + b"\r\n")
        grown = edge.resident_bytes() - before

    assert grown < 64 * 1024 * 1024


def test_a_thousand_idle_connections_leave_honest_requests_alone(edge: Edge) -> None:
    with ExitStack() as stack, edge.client() as client:
        alone_s = honest_p90_s(client)
        before = edge.resident_bytes()
        for _ in range(800):
            stack.enter_context(plain(edge))
        for _ in range(200):
            connection = stack.enter_context(edge.connection())
            connection.sendall(HEAD)
        among_others_s = honest_p90_s(client)
        grown = edge.resident_bytes() - before

    # A machine shared with other tests stalls for a moment now and then.
    assert among_others_s < 2 * alone_s + 0.25
    assert grown < 64 * 1024 * 1024


def honest_p90_s(client: httpx.Client) -> float:
    took_s = []
    for _ in range(50):
        began = time.monotonic()
        assert client.post("/api/v1/predict", content=b"x").is_success
        took_s.append(time.monotonic() - began)
    return sorted(took_s)[45]

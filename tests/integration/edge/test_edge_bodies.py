"""Bodies that come by the byte are refused, those that keep the pace pass."""

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.edge_bodies import PACKAGE, BodyPace, find_lua_modules
from tests.integration.edge.house import INFER, LOGIN, PREDICT, House, good, house
from tests.integration.edge.nginx import HOST, parsed
from tests.integration.edge.test_edge import assert_our_error
from tests.integration.edge.upstreams import Received

pytestmark = [
    pytest.mark.nginx,
    pytest.mark.skipif(find_lua_modules() is None, reason=f"apt-get install {PACKAGE}"),
]
UPLOAD = "/api/v1/models"
WINDOW_S, BYTES_PER_S = 1, 2000
#: Two windows, and what a busy machine adds.
IN_TIME_S = 8.0
#: Not to be seen within a test.
LATER = BodyPace(window_s=600, lua_modules=find_lua_modules())
FRAMINGS = {
    "length": (b"Content-Length: 100000\r\n\r\n", b"x"),
    "chunks": (b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
}


def head(path: str) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\n".encode()


def drip(connection: socket.socket, piece: bytes, *, for_s: float = IN_TIME_S) -> bytes:
    """What comes back by the end of the connection, while ``piece`` goes out again and again."""
    received, until = b"", time.monotonic() + for_s
    connection.settimeout(0.1)
    while time.monotonic() < until:
        try:
            got = connection.recv(65536)
        except TimeoutError:
            connection.sendall(piece)
            continue
        received += got
        if not got:
            break
    return received


@pytest.fixture(scope="module")
def paced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    pace = BodyPace(window_s=WINDOW_S, bytes_per_s=BYTES_PER_S, lua_modules=find_lua_modules())
    with house(tmp_path_factory.mktemp("paced"), good, body_pace=pace) as made:
        yield made


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("path", [PREDICT, INFER, UPLOAD, LOGIN])
def test_a_body_by_the_byte_is_told_408_and_closed(paced: House, path: str, framing: str) -> None:
    start, piece = FRAMINGS[framing]
    before = len(paced.door.requests)
    with paced.edge.connection() as connection, paced.edge.client() as client:
        connection.sendall(head(path) + start)
        honest = client.post(path, content=b"whole")
        answer = parsed(drip(connection, piece))

    assert_our_error(answer, 408, "request_timeout")
    assert answer.headers["connection"] == "close"
    assert honest.json() == {"bytes": 5}
    assert len(paced.door.requests) == before + 1


def test_what_came_fast_earns_one_window_and_no_more(paced: House) -> None:
    with paced.edge.connection() as connection:
        connection.sendall(head(UPLOAD) + b"Content-Length: 1000000\r\n\r\n" + b"x" * 500_000)

        assert_our_error(parsed(drip(connection, b"x")), 408, "request_timeout")


def test_what_is_no_data_earns_windows_for_a_largest_body_and_no_more(tmp_path: Path) -> None:
    """A chunk's extension, which no bound of nginx's counts."""
    pace = BodyPace(window_s=1, bytes_per_s=1000, lua_modules=find_lua_modules())
    with (
        house(tmp_path, good, json_bytes=2000, body_pace=pace) as made,
        made.edge.connection() as connection,
    ):
        connection.sendall(head(PREDICT) + b"Transfer-Encoding: chunked\r\n\r\n1;")

        assert_our_error(parsed(drip(connection, b"a" * 1000)), 408, "request_timeout")


def test_a_probe_without_tls_is_held_to_it_too(paced: House) -> None:
    with socket.create_connection(("127.0.0.1", paced.edge.http_port), 10) as connection:
        connection.sendall(head("/health/live") + b"Content-Length: 1000\r\n\r\n")

        assert_our_error(parsed(drip(connection, b"x")), 408, "request_timeout")


def test_a_slow_body_that_keeps_the_pace_passes(paced: House) -> None:
    """Twice the pace at least, for three windows."""
    pieces = 0
    with paced.edge.connection() as connection:
        connection.sendall(head(PREDICT) + b"Transfer-Encoding: chunked\r\n\r\n")
        connection.settimeout(0.1)
        until = time.monotonic() + 3.5 * WINDOW_S
        while time.monotonic() < until:
            connection.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
            pieces += 1
            with pytest.raises(TimeoutError):
                connection.recv(1)
        connection.sendall(b"0\r\n\r\n")
        connection.settimeout(15)
        answer = parsed(connection.recv(65536))

    assert answer.json() == {"bytes": 1024 * pieces}


def test_a_connection_goes_on_after_a_body(paced: House) -> None:
    with paced.edge.client() as client:
        answers = [client.post(PREDICT, content=b"x" * size) for size in (1, 100_000, 1)]

    assert [answer.json()["bytes"] for answer in answers] == [1, 100_000, 1]
    assert {answer.headers["connection"] for answer in answers} == {"keep-alive"}


def test_a_large_upload_arrives_whole_and_leaves_no_name_on_disk(tmp_path: Path) -> None:
    named: list[Path] = []

    def look(request: Received) -> bytes:
        named.extend((tmp_path / "body").iterdir())
        return good(request)

    def pieces() -> Iterator[bytes]:
        yield from (bytes([number]) * 100_000 for number in range(200))

    with house(tmp_path, look, body_pace=LATER) as made, made.edge.client() as client:
        answers = [client.post(UPLOAD, content=body) for body in (pieces(), b"".join(pieces()))]

    assert [answer.json() for answer in answers] == [{"bytes": 20_000_000}] * 2
    assert {request.body for request in made.door.requests} == {b"".join(pieces())}
    assert named == []


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_limit_refuses_before_the_body(tmp_path: Path, framing: str) -> None:
    with (
        house(tmp_path, good, auth_requests_per_second=1, body_pace=LATER) as made,
        made.edge.client() as client,
    ):
        while client.post(LOGIN, content=b"{}").status_code != 429:
            pass
        with made.edge.connection() as connection:
            connection.sendall(head(LOGIN) + FRAMINGS[framing][0])
            answer = parsed(connection.recv(65536))

    assert_our_error(answer, 429, "rate_limited")


@pytest.mark.parametrize(
    "start",
    [
        b"Content-Length: 20001\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nffffff\r\n" + b"x" * 20_001,
    ],
)
def test_a_size_is_refused_before_the_end(tmp_path: Path, start: bytes) -> None:
    with (
        house(tmp_path, good, json_bytes=20_000, body_pace=LATER) as made,
        made.edge.connection() as connection,
    ):
        connection.sendall(head(LOGIN) + start)
        answer = parsed(connection.recv(65536))

    assert_our_error(answer, 413, "too_large")


def test_without_lua_the_edge_runs_and_bounds_the_silence(tmp_path: Path) -> None:
    with (
        house(tmp_path, good, body_timeout_s=1, body_pace=BodyPace()) as made,
        made.edge.client() as client,
        made.edge.connection() as connection,
    ):
        connection.sendall(head(PREDICT) + b"Content-Length: 1000\r\n\r\nhalf")
        whole = client.post(PREDICT, content=b"x")
        try:
            rest = connection.recv(65536)
        except (ConnectionError, ssl.SSLError):
            rest = b""

    assert whole.is_success
    assert rest == b""

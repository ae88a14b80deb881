"""What a caller is told when HAProxy or a replica fails behind the edge."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from cluster.ports import free_block
from tests.integration.edge.house import LOGIN, PREDICT, good, house, missing
from tests.integration.edge.nginx import running
from tests.integration.edge.test_edge import assert_our_error
from tests.integration.edge.upstreams import (
    HAPROXY_404,
    HAPROXY_500,
    Received,
    raw_server,
    response,
)

pytestmark = pytest.mark.nginx


def test_a_failure_of_haproxy_is_no_500(tmp_path: Path) -> None:
    with house(tmp_path, lambda _: HAPROXY_500) as made, made.edge.client() as client:
        answer = client.post(LOGIN, content=b"{}")

    assert_our_error(answer, 503, "replica_unavailable")
    assert answer.headers["retry-after"] == "1"
    assert made.replica.requests == []


def test_a_failure_of_the_application_keeps_its_id(tmp_path: Path) -> None:
    def broken(request: Received) -> bytes:
        (chosen,) = request.values("x-request-id")
        return response("500 Internal Server Error", "{}", request_id=chosen)

    with house(tmp_path, broken) as made, made.edge.client() as client:
        answer = client.get("/api/v1/models", headers={"X-Request-ID": "mine"})

    assert_our_error(answer, 500, "internal")
    assert answer.json()["request_id"] == "mine"
    assert "retry-after" not in answer.headers


def test_a_404_of_the_application_keeps_its_body(tmp_path: Path) -> None:
    with house(tmp_path, missing, missing) as made, made.edge.client() as client:
        answers = [
            client.get("/api/v1/models/none"),
            client.post(PREDICT, content=b"x"),
            client.delete("/api/v1/models/none"),
        ]

    assert [(each.status_code, each.json()["code"]) for each in answers] == [
        (404, "model_not_found")
    ] * 3


def test_an_edge_that_reaches_no_replica_keeps_a_404(tmp_path: Path) -> None:
    with house(tmp_path, missing, replica_ports=0) as made, made.edge.client() as client:
        answer = client.get("/api/v1/models/none")

    assert answer.json() == {"code": "model_not_found"}
    assert made.replica.requests == []


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_404_of_haproxy_is_asked_at_a_replica(tmp_path: Path, method: str) -> None:
    with house(tmp_path, lambda _: HAPROXY_404) as made, made.edge.client() as client:
        answer = client.request(method, "/api/v1/models/iris/versions")

    assert answer.status_code == 200
    (request,) = made.replica.requests
    assert request.line.startswith(f"{method} /api/v1/models/iris/versions ")


@pytest.mark.parametrize("path", [PREDICT, LOGIN])
def test_a_404_of_haproxy_without_a_replica_is_503(tmp_path: Path, path: str) -> None:
    with (
        raw_server(lambda _: HAPROXY_404) as door,
        running(tmp_path, door.port) as edge,
        edge.client() as client,
    ):
        answer = client.post(path, content=b"{}")

    assert_our_error(answer, 503, "replica_unavailable")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize(
    "status", ["400 Bad Request", "413 Too Large", "429 Too Many", "503 Busy", "504 Late"]
)
def test_other_errors_of_the_application_pass_as_they_are(tmp_path: Path, status: str) -> None:
    def refuse(_request: Received) -> bytes:
        return response(status, '{"code":"its own"}', request_id="app")

    with house(tmp_path, refuse) as made, made.edge.client() as client:
        answers = [client.post(path, content=b"x") for path in (PREDICT, LOGIN)]

    assert [answer.json() for answer in answers] == [{"code": "its own"}] * 2
    assert {answer.headers["x-request-id"] for answer in answers} == {"app"}
    assert len(made.door.requests) == 2


def test_an_application_that_hangs_is_a_504(tmp_path: Path) -> None:
    release = threading.Event()

    def hang(_request: Received) -> None:
        release.wait(30)

    with house(tmp_path, hang, hang, deadline_s=1, answer_grace_s=1) as made:
        with made.edge.client() as client:
            began = time.monotonic()
            answer = client.post(LOGIN, content=b"{}")
            took_s = time.monotonic() - began
        release.set()

    assert_our_error(answer, 504, "deadline_exceeded")
    assert took_s < 5
    assert len(made.door.requests) == 1


def test_without_anything_behind_it_the_edge_answers_in_our_form(tmp_path: Path) -> None:
    with running(tmp_path, free_block(1)) as edge, edge.client() as client:
        answers = [client.post(PREDICT, content=b"x"), client.get("/"), client.post(LOGIN)]

    for answer in answers:
        assert_our_error(answer, 502, "replica_unavailable")


def test_one_address_is_held_to_its_rate_of_logins(tmp_path: Path) -> None:
    with house(tmp_path, good, auth_requests_per_second=1) as made, made.edge.client() as client:
        answers = [client.post(LOGIN, content=b"{}") for _ in range(40)]
        others = [client.get("/health") for _ in range(10)]

    refused = [answer for answer in answers if answer.status_code == 429]
    assert 1 <= len(refused) <= 37
    assert [answer.status_code for answer in answers[:3]] == [200] * 3
    assert_our_error(refused[0], 429, "rate_limited")
    assert refused[0].headers["retry-after"] == "1"
    assert {answer.status_code for answer in others} == {200}


def test_one_address_is_held_to_its_connections(tmp_path: Path) -> None:
    release = threading.Event()

    def hold(request: Received) -> bytes:
        release.wait(30)
        return good(request)

    def ask(_: int) -> httpx.Response:
        with made.edge.client() as client:
            answer = client.get("/health")
            if answer.status_code == 429:
                release.set()
            return answer

    with house(tmp_path, hold, connections_per_address=3) as made, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))

    assert sorted(answer.status_code for answer in answers)[:3] == [200] * 3
    refused = [answer for answer in answers if answer.status_code == 429]
    assert_our_error(refused[0], 429, "rate_limited")


@pytest.mark.parametrize(
    ("hops", "forwarded", "expected"),
    [
        (0, "6.6.6.6", "127.0.0.1"),
        (1, "6.6.6.6, 203.0.113.7", "203.0.113.7"),
        (2, "6.6.6.6, 203.0.113.7, 10.0.0.1", "203.0.113.7"),
        (1, "2001:db8::1", "2001:db8::1"),
        # Fewer entries than balancers: somebody went round them.
        (2, "6.6.6.6", "127.0.0.1"),
        (1, "not an address!", "127.0.0.1"),
    ],
)
def test_balancers_before_the_edge_name_the_client(
    tmp_path: Path, hops: int, forwarded: str, expected: str
) -> None:
    with house(tmp_path, good, trusted_hops=hops) as made, made.edge.client() as client:
        client.get("/health", headers={"X-Forwarded-For": forwarded})

    (request,) = made.door.requests
    assert request.values("x-forwarded-for") == [expected]


def test_grafana_answers_under_its_path_alone(tmp_path: Path) -> None:
    with raw_server(good) as grafana:
        address = f"127.0.0.1:{grafana.port}"
        with house(tmp_path, good, grafana=address) as made, made.edge.client() as client:
            client.get("/grafana/d/slipway")
            client.get("/health")

    assert [request.line for request in grafana.requests] == ["GET /grafana/d/slipway HTTP/1.1"]
    assert len(made.door.requests) == 1
    assert grafana.requests[0].values("x-slipway-edge") == []

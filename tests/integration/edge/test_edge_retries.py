"""Predictions are asked again where HAProxy or a replica fails; nothing else is."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from cluster.ports import free_block
from tests.integration.edge.house import INFER, LOGIN, PREDICT, dies, good, house
from tests.integration.edge.nginx import running
from tests.integration.edge.test_edge import assert_our_error
from tests.integration.edge.upstreams import (
    HAPROXY_404,
    HAPROXY_500,
    Reply,
    raw_server,
    response,
)

pytestmark = pytest.mark.nginx
LARGE = b"x" * 300_000


@pytest.mark.parametrize("path", [PREDICT, "/api/v1/predict", INFER])
@pytest.mark.parametrize(
    "door",
    [
        pytest.param(dies, id="closes"),
        pytest.param(lambda _: HAPROXY_404, id="routes are empty"),
        pytest.param(lambda _: HAPROXY_500, id="replica died"),
        pytest.param(lambda _: response("502 Bad Gateway", ""), id="502"),
    ],
)
def test_a_prediction_is_asked_again_body_and_all(tmp_path: Path, path: str, door: Reply) -> None:
    with house(tmp_path, door) as made, made.edge.client() as client:
        answer = client.post(path, content=LARGE)

    assert answer.json() == {"bytes": len(LARGE)}
    assert len(made.door.requests) == 1
    assert [request.body for request in made.replica.requests] == [LARGE]


def test_no_prediction_is_lost_while_haproxy_is_away(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first = free_block(4)
        replicas = [stack.enter_context(raw_server(good, port=first + i)) for i in (0, 3)]
        edge = stack.enter_context(running(tmp_path, free_block(1), first_replica_port=first))
        client = stack.enter_context(edge.client())
        answers = [client.post(PREDICT, content=b"x").status_code for _ in range(50)]

    assert answers == [200] * 50
    assert sum(len(replica.requests) for replica in replicas) == 50


def test_a_replica_that_has_just_come_up_is_asked_at_once(tmp_path: Path) -> None:
    first = free_block(4)
    with (
        running(tmp_path, free_block(1), first_replica_port=first) as edge,
        edge.client() as client,
    ):
        nobody = client.post(PREDICT, content=b"x")
        with raw_server(good, port=first + 1):
            answer = client.post(PREDICT, content=b"x")

    assert_our_error(nobody, 502, "replica_unavailable")
    assert nobody.headers["retry-after"] == "1"
    assert answer.status_code == 200


def test_no_prediction_is_lost_when_a_replica_dies_at_work(tmp_path: Path) -> None:
    first = free_block(4)
    with ExitStack() as stack:
        stack.enter_context(raw_server(dies, port=first))
        stack.enter_context(raw_server(good, port=first + 1))
        edge = stack.enter_context(running(tmp_path, free_block(1), first_replica_port=first))

        def ask(_: int) -> int:
            with edge.client() as client:
                return client.post(PREDICT, content=b"x").status_code

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(ask, range(40)))

    assert answers == [200] * 40


@pytest.mark.parametrize(
    "path", [LOGIN, "/api/v1/auth/refresh", "/api/v1/models", "/api/v1/api-keys"]
)
def test_nothing_else_is_sent_twice(tmp_path: Path, path: str) -> None:
    with house(tmp_path, dies) as made, made.edge.client() as client:
        answer = client.post(path, content=b"{}")

    assert_our_error(answer, 502, "replica_unavailable")
    assert answer.headers["retry-after"] == "1"
    assert len(made.door.requests) == 1
    assert made.replica.requests == []


def test_a_login_that_was_never_sent_goes_to_a_replica(tmp_path: Path) -> None:
    first = free_block(4)
    with (
        raw_server(good, port=first + 2) as replica,
        running(tmp_path, free_block(1), first_replica_port=first) as edge,
        edge.client() as client,
    ):
        answer = client.post(LOGIN, content=b"{}")

    assert answer.status_code == 200
    assert len(replica.requests) == 1

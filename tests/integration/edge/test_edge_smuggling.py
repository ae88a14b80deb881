"""
Requests that two servers might read in two ways, through nginx, HAProxy and uvicorn.

What reaches the application must be what the edge took for requests, in that order: then there is
no request that nobody sent.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.integration.edge.chain import Recorder, chain
from tests.integration.edge.nginx import HOST, TOKEN, Edge
from tests.integration.edge.smuggling import LAST, VARIANTS
from tests.system.platform import wait_until
from tests.unit.serve_app.middleware.door import application, production

pytestmark = pytest.mark.nginx


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Edge, Recorder]]:
    settings = production(edge_token=SecretStr(TOKEN), allowed_hosts=[HOST])
    with chain(
        tmp_path_factory.mktemp("chain"),
        application(settings),
        header_timeout_s=1,
        body_timeout_s=1,
    ) as made:
        yield made


def taken(log: Path) -> list[str]:
    """Paths of the requests that the edge passed on, by its own log."""
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    return [entry["path"] for entry in entries if entry["upstream"]]


@pytest.mark.parametrize("name", list(VARIANTS))
def test_the_application_sees_what_the_edge_saw(way: tuple[Edge, Recorder], name: str) -> None:
    edge, recorder = way
    already, before = len(recorder.paths), len(taken(edge.log))

    edge.raw_exchange((VARIANTS[name] + LAST).encode("latin-1"), timeout_s=5)
    with edge.client() as victim:
        answer = victim.get("/victim")

    seen = recorder.paths[already:]
    # The edge writes its line after the answer.
    wait_until(lambda: "/victim" in taken(edge.log)[before:], what="the log's line", timeout_s=10)

    assert answer.json()["body_bytes"] == 0
    assert seen == taken(edge.log)[before:]
    assert seen[-1] == "/victim"


@pytest.mark.parametrize(
    "name",
    [
        "CL.TE",
        "TE.CL",
        "TE: xchunked",
        "TE: chunked, identity",
        "TE twice",
        "TE with a vertical tab",
        "TE folded",
        "CL twice, different",
        "CL twice, different, the other way",
        "CL a list",
        "CL with a sign",
        "CL negative",
        "CL in hexadecimal",
        "CL of 2**64 + n",
        "TE behind NUL",
        "two hosts",
        "chunk size in 0x",
        "chunk size overflows",
    ],
)
def test_what_is_ambiguous_is_refused(way: tuple[Edge, Recorder], name: str) -> None:
    edge, recorder = way
    already = len(recorder.paths)

    received = edge.raw_exchange((VARIANTS[name] + LAST).encode("latin-1"), timeout_s=5)

    assert received.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"bad_request"' in received
    assert recorder.paths[already:] == []

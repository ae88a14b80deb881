"""An edge with a HAProxy and a replica that answer, or fail, as a test says."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.ports import free_block
from tests.integration.edge.nginx import Edge, running
from tests.integration.edge.upstreams import (
    RawServer,
    Received,
    Reply,
    raw_server,
    response,
)

PREDICT = "/api/v1/models/iris/predict"
INFER = "/v2/models/iris/infer"
LOGIN = "/api/v1/auth/login"


@dataclass(frozen=True, kw_only=True)
class House:
    """An edge, the HAProxy it asks first, and a replica on a port of its own."""

    edge: Edge
    door: RawServer
    replica: RawServer


def good(request: Received) -> bytes:
    """The application's answer: it names what it received."""
    return response("200 OK", f'{{"bytes":{len(request.body)}}}', request_id="app")


def missing(_request: Received) -> bytes:
    """The application's 404."""
    return response("404 Not Found", '{"code":"model_not_found"}', request_id="app")


def dies(_request: Received) -> None:
    """A replica that is killed while it works."""


@contextmanager
def house(
    directory: Path, door: Reply, replica: Reply = good, **changes: object
) -> Iterator[House]:
    """Start the three; the replica has the second of the four ports that the edge knows."""
    first = free_block(4)
    with ExitStack() as stack:
        made = stack.enter_context(raw_server(door))
        behind = stack.enter_context(raw_server(replica, port=first + 1))
        edge = stack.enter_context(
            running(directory, made.port, first_replica_port=first, **changes)
        )
        yield House(edge=edge, door=made, replica=behind)

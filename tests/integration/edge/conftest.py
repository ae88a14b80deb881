"""The edge before our whole middleware in a real uvicorn."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.integration.edge.nginx import HOST, TOKEN, Edge, find_nginx, running
from tests.integration.edge.upstreams import uvicorn_server
from tests.unit.serve_app.middleware.door import application, production

BOUND = 20_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs nginx where it is missing, saying how to get it."""
    if find_nginx() is None:
        skip = pytest.mark.skip(reason="nginx is missing: apt-get install nginx")
        for item in items:
            if item.get_closest_marker("nginx"):
                item.add_marker(skip)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """An edge with small bounds before the stack of production."""
    settings = production(edge_token=SecretStr(TOKEN), allowed_hosts=[HOST], max_request_size=BOUND)
    directory: Path = tmp_path_factory.mktemp("edge")
    with (
        uvicorn_server(application(settings)) as door,
        running(
            directory,
            door,
            json_bytes=BOUND,
            binary_bytes=4 * BOUND,
            upload_bytes=8 * BOUND,
            header_timeout_s=1,
            body_timeout_s=1,
            deadline_s=30,
        ) as made,
    ):
        yield made

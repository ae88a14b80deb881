"""Fixtures every suite shares."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from cluster.embedded import EmbeddedPostgres, EmbeddedValkey
from serve_app.registry.migrate import upgrade
from tests.logs import loggers_restored


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Asyncio alone: it is what Ray Serve's replicas run."""
    return "asyncio"


@pytest.fixture
def restored_loggers() -> Iterator[None]:
    """Whatever the test configures, our loggers are afterwards as they were."""
    with loggers_restored():
        yield


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an empty database on a PostgreSQL of this session's own."""
    server = EmbeddedPostgres(tmp_path_factory.mktemp("postgres"))
    try:
        yield server.start()
    finally:
        server.destroy()


@pytest.fixture(scope="session")
def _template_database(postgres_server: str) -> str:
    """A migrated database that others are cloned from, since cloning takes a tenth of the time."""
    url = _create_database(postgres_server, "migrated")
    upgrade(url)
    return "migrated"


@pytest.fixture(scope="module")
def database_url(postgres_server: str, _template_database: str) -> Iterator[str]:
    """URL of a migrated, otherwise empty database of this test module's own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield _create_database(postgres_server, name, template=_template_database)
    _on_server(postgres_server, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def empty_database_url(postgres_server: str) -> Iterator[str]:
    """URL of a database without any table."""
    name = f"empty_{uuid.uuid4().hex[:12]}"
    yield _create_database(postgres_server, name)
    _on_server(postgres_server, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a Valkey of this session's own."""
    server = EmbeddedValkey(Path(tmp_path_factory.mktemp("valkey")))
    try:
        yield server.start()
    finally:
        server.stop()


def _create_database(server_url: str, name: str, *, template: str = "template0") -> str:
    _on_server(server_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    url = make_url(server_url).set(database=name)
    return url.render_as_string(hide_password=False)


def _on_server(server_url: str, statement: str) -> None:
    engine = create_engine(server_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    connection: Connection
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()

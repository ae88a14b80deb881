"""How PostgreSQL's programs are found and told where the database is."""

from pathlib import Path

import pytest

from cluster.backup.faults import BackupFailed
from cluster.backup.postgres_client import DatabaseAddress, PostgresClient, find_client, find_reader


@pytest.mark.parametrize(
    ("url", "uri", "password"),
    [
        (
            "postgresql+psycopg2://you:se%40cret@db:5433/slipway",
            "postgresql://you@db:5433/slipway?connect_timeout=10",
            "se@cret",
        ),
        (
            "postgresql+psycopg2://you@/slipway?host=/run/postgresql",
            "postgresql://you@/slipway?host=/run/postgresql&connect_timeout=10",
            None,
        ),
        (
            "postgresql://you:x@db/slipway?sslmode=verify-full",
            "postgresql://you@db/slipway?sslmode=verify-full&connect_timeout=10",
            "x",
        ),
    ],
)
def test_an_address_keeps_the_password_apart(url: str, uri: str, password: str | None) -> None:
    address = DatabaseAddress.from_url(url)

    assert address.uri == uri
    assert address.password == password
    assert "se@cret" not in repr(address)


def test_another_database_of_the_same_server_is_named() -> None:
    address = DatabaseAddress.from_url("postgresql://you:x@db/slipway?sslmode=require")

    other = address.named("a b/c")

    assert other.uri == "postgresql://you@db/a%20b%2Fc?sslmode=require&connect_timeout=10"
    assert other.database == "a b/c"


def test_the_password_travels_in_a_private_file() -> None:
    address = DatabaseAddress.from_url("postgresql://you:a%3Ab%5Cc@db/slipway")
    client = PostgresClient(bin=Path("/bin"), version="18.4")

    with client.environment(address) as environment:
        path = Path(environment["PGPASSFILE"])
        content, mode = path.read_text(encoding="utf-8"), path.stat().st_mode & 0o777

    assert content == "*:*:*:*:a\\:b\\\\c\n"
    assert mode == 0o600
    assert not path.exists()


def test_the_wheels_programs_are_found_by_major_version() -> None:
    assert find_client(18).version.split(".")[0] == "18"


def test_a_version_that_is_not_installed_is_named() -> None:
    with pytest.raises(BackupFailed, match="postgresql-client-99"):
        find_client(99)


def test_a_newer_program_reads_an_older_dump() -> None:
    assert int(find_reader(10).version.split(".")[0]) > 10

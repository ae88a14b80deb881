"""PostgreSQL and Valkey from wheels: kept data, kill -9, adoption, and passwords that are asked."""

import os
import pwd
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import psycopg2
import pytest
import redis

from cluster.embedded import EmbeddedPostgres, EmbeddedValkey


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path / "home")
    yield server
    server.destroy()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    server = EmbeddedValkey(tmp_path / "home")
    yield server
    server.stop()


def query(url: str, sql: str) -> object:
    with closing(psycopg2.connect(url.replace("+psycopg2", ""))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


def kill(pid: int | None) -> None:
    assert pid is not None
    process = psutil.Process(pid)
    process.send_signal(signal.SIGKILL)
    process.wait(10)


def test_postgres_is_version_18_and_speaks_utf8(postgres: EmbeddedPostgres) -> None:
    url = postgres.start()

    assert str(query(url, "SHOW server_version")).startswith("18.")
    assert query(url, "SHOW server_encoding") == "UTF8"


def test_postgres_keeps_its_data_over_a_stop(postgres: EmbeddedPostgres) -> None:
    query(postgres.start(), "CREATE TABLE kept AS SELECT 7 AS number")
    postgres.stop()

    assert not postgres.is_running
    assert query(postgres.start(), "SELECT number FROM kept") == 7


def test_postgres_starts_again_after_kill_9_of_its_postmaster(postgres: EmbeddedPostgres) -> None:
    query(postgres.start(), "CREATE TABLE kept AS SELECT 7 AS number")
    kill(postgres.pid)

    assert not postgres.is_running
    assert query(postgres.start(), "SELECT number FROM kept") == 7


def test_a_second_launcher_adopts_the_running_postgres(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    url = postgres.start()
    pid = postgres.pid
    successor = EmbeddedPostgres(tmp_path / "home")

    assert successor.start() == url
    assert successor.pid == pid
    successor.stop()
    assert not postgres.is_running


def test_a_pid_file_that_names_a_foreign_process_stops_nobody(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    postgres.start()
    data = Path((tmp_path / "home" / "postgres").read_text().strip())
    postgres.stop()
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n0\n5432\n\n\n\nready   \n")

    assert not postgres.is_running
    assert query(postgres.start(), "SELECT 1") == 1


def test_postgres_refuses_a_wrong_password(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    url = postgres.start()
    password = (tmp_path / "home" / "secrets" / "postgres_password").read_text()

    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        query(url.replace(password, "wrong"), "SELECT 1")


def test_a_lost_postgres_password_is_set_anew(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    old = postgres.start()
    postgres.stop()
    (tmp_path / "home" / "secrets" / "postgres_password").unlink()

    new = postgres.start()
    assert new != old
    assert query(new, "SELECT 1") == 1


def test_the_role_is_no_superuser(postgres: EmbeddedPostgres) -> None:
    url = postgres.start()

    assert query(url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False


@pytest.mark.parametrize("server", ["postgres", "valkey"])
def test_servers_listen_on_loopback_alone(server: str, request: pytest.FixtureRequest) -> None:
    embedded = request.getfixturevalue(server)
    embedded.start()

    listening = {
        connection.laddr[0]
        for connection in psutil.Process(embedded.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_valkey_keeps_its_data_over_kill_9(valkey: EmbeddedValkey) -> None:
    with closing(redis.Redis.from_url(valkey.start())) as client:
        client.set("kept", "7")
        client.waitaof(1, 0, 5000)
    kill(valkey.pid)

    assert not valkey.is_running
    with closing(redis.Redis.from_url(valkey.start())) as client:
        assert client.get("kept") == b"7"


def test_valkey_asks_for_the_password(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    url = valkey.start()
    password = (tmp_path / "home" / "secrets" / "valkey_password").read_text()

    with (
        closing(redis.Redis.from_url(url.replace(f":{password}@", ""))) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_no_password_is_on_a_command_line(
    postgres: EmbeddedPostgres, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    postgres.start()
    valkey.start()
    words = [
        *psutil.Process(postgres.pid).cmdline(),
        *psutil.Process(valkey.pid).cmdline(),
    ]

    for name in ("postgres_password", "postgres_superuser", "valkey_password"):
        secret = (tmp_path / "home" / "secrets" / name).read_text()
        assert not any(secret in word for word in words)


def test_files_with_passwords_are_their_owners_alone(
    postgres: EmbeddedPostgres, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    postgres.start()
    valkey.start()
    home = tmp_path / "home"

    for path in (*(home / "secrets").iterdir(), home / "valkey" / "valkey.conf"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_second_launcher_stops_the_running_valkey(valkey: EmbeddedValkey, tmp_path: Path) -> None:
    url = valkey.start()
    successor = EmbeddedValkey(tmp_path / "home")

    assert successor.start() == url
    successor.stop()
    assert not valkey.is_running


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_postgres_starts_for_an_ordinary_user() -> None:
    nobody = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        os.chown(directory, nobody.pw_uid, nobody.pw_gid)
        home = Path(directory, "home")
        program = (
            "import os; from pathlib import Path;"
            " from cluster.embedded import EmbeddedPostgres as P;"
            # After the imports: the interpreter may lie in a directory of root's.
            f" os.setgroups([]); os.setgid({nobody.pw_gid}); os.setuid({nobody.pw_uid});"
            f" p = P(Path({str(home)!r})); p.start(); print(p.is_running); p.stop();"
            " print(p.is_running)"
        )
        finished = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False
        )

        assert finished.stdout.split() == ["True", "False"], finished.stderr
        assert (home / "postgres-data" / "PG_VERSION").exists()

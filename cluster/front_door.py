"""
HAProxy's door, as the one who stops the platform uses it: closed first, then left to run dry.

Serve's own shutdown begins with killing HAProxy (ray/serve/_private/haproxy.py, ``stop``), and ends
Predictors beside the ingress that still needs them: what is under way must be answered before.

    close  nobody can connect; a kept connection still takes one request, and its answer says
           ``Connection: close``
    drain  returns when every accepted request is answered
"""

import csv
import socket
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from cluster.ray_environment import ADMIN_SOCKET, haproxy_directory

#: As Serve's template of HAProxy's configuration calls it.
FRONTEND = "http_frontend"
#: For a kept connection to be used once more, and so to be told that it ends.
IDLE_GRACE_S = 5.0
#: Beyond its deadline a request has this long to be answered.
ANSWER_GRACE_S = 5.0
POLL_INTERVAL_S = 0.2
COMMAND_TIMEOUT_S = 5.0


class FrontDoor:
    """One node's HAProxy, by its admin socket and its connections."""

    def __init__(
        self, temporary: Path, port: int, processes: Callable[[], Iterable[psutil.Process]]
    ) -> None:
        """
        Name the door.

        Args:
            temporary: Where the Ray head keeps its files; HAProxy's lie in a folder for each node.
            port: Where clients come in.
            processes: Everything that the head runs now.  A HAProxy that a reload has replaced goes
                on with what it had accepted, and no socket leads to it.
        """
        self._directory = haproxy_directory(temporary)
        self._port = port
        self._processes = processes

    def drain(self, deadline_s: float) -> bool:
        """
        Close, and wait for the answers to what was accepted.

        Args:
            deadline_s: Of a request.

        Returns:
            Whether all were answered in time, or there was no HAProxy to be told.
        """
        began_s = time.monotonic()
        while self.close():
            waited_s = time.monotonic() - began_s
            if self._is_quiet(is_patient=waited_s < IDLE_GRACE_S):
                break
            if waited_s > deadline_s + ANSWER_GRACE_S:
                return False
            # A replica that came or went makes a new HAProxy, which listens: it is closed, too.
            time.sleep(POLL_INTERVAL_S)
        return True

    def close(self) -> bool:
        """Refuse new connections from now on; whether there was a HAProxy to be told."""
        # Disabled first: what is shut down alone keeps its port, for a reload to take it over, and
        # lets clients connect to nobody.
        return self._ask(f"disable frontend {FRONTEND};shutdown frontend {FRONTEND}") is not None

    def _is_quiet(self, *, is_patient: bool) -> bool:
        """Whether nobody is connected, or all that are have long been idle."""
        connected = {process.pid for process in self._processes() if self._has_clients(process)}
        if not connected:
            return True
        answer = None if is_patient else self._ask("show info;show stat -1 2 -1")
        if answer is None:
            return False
        # One that a reload has replaced does not say whether it is idle: its clients must go.
        return connected == {pid_of(answer)} and requests_under_way(answer) == 0

    def _has_clients(self, process: psutil.Process) -> bool:
        """Whether it is a HAProxy to which clients are connected."""
        try:
            if process.name() != "haproxy":
                return False
            connections = process.net_connections("tcp")
        except psutil.Error:
            return False
        ours = (found for found in connections if found.laddr and found.laddr.port == self._port)
        return any(found.status == psutil.CONN_ESTABLISHED for found in ours)

    def _ask(self, command: str) -> str | None:
        """The answer of the HAProxy that listens; an earlier head's socket leads nowhere."""
        answers = (_ask(path, command) for path in self._directory.glob(f"*/{ADMIN_SOCKET}"))
        return next((answer for answer in answers if answer is not None), None)


def _ask(path: Path, command: str) -> str | None:
    try:
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(COMMAND_TIMEOUT_S)
            admin.connect(str(path))
            admin.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: admin.recv(65536), b"")).decode()
    except OSError:
        return None


def pid_of(answer: str) -> int | None:
    """The process id in HAProxy's ``show info``."""
    pids = [line for line in answer.splitlines() if line.startswith("Pid:")]
    return int(pids[0].removeprefix("Pid:")) if pids else None


def requests_under_way(answer: str) -> int:
    """Requests that backends work on or have queued, in HAProxy's ``show stat``."""
    _, _, table = answer.partition("# pxname")
    rows = csv.DictReader(f"pxname{table}".splitlines())
    return sum(int(row["scur"] or 0) + int(row["qcur"] or 0) for row in rows if row.get("scur"))

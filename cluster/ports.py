"""
TCP ports: which are free, who holds one, and which ones this SLIPWAY_HOME was given.

Chosen ports lie below the kernel's ephemeral range, so that an outgoing connection of another
program does not take one while its server restarts.
"""

import contextlib
import json
import secrets
import socket
from pathlib import Path

import psutil

from cluster.errors import PlatformError
from cluster.private_files import write_private

FIRST_PORT = 17_000
LAST_PORT = 31_999
ATTEMPTS = 200


class PortTaken(PlatformError):
    """Another program listens on a port that we were told to use."""

    code = "port_taken"


def is_free(port: int) -> bool:
    """Whether every address of this machine can listen on ``port``."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a connection in TIME_WAIT is no listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_block(size: int, *, avoid: frozenset[int] = frozenset()) -> int:
    """
    First of ``size`` consecutive free ports.

    Raises:
        PortTaken: If there was no such block.
    """
    for _ in range(ATTEMPTS):
        first = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT - size)
        block = range(first, first + size)
        if avoid.isdisjoint(block) and all(is_free(port) for port in block):
            return first
    raise PortTaken(f"no {size} free ports between {FIRST_PORT} and {LAST_PORT}: stop something")


class RememberedPorts:
    """The ports of one SLIPWAY_HOME by name, kept in its ``ports.json``."""

    def __init__(self, home: Path) -> None:
        self._path = home / "ports.json"

    def choose(self, name: str, *, size: int = 1, preferred: int | None = None) -> int:
        """First of the block ``name``: ``preferred``, last time's, or any other, if free."""
        ports = self._read()
        known = ports.pop(name, None)
        for first in (preferred, known):
            if first is not None and all(is_free(port) for port in range(first, first + size)):
                ports[name] = first
                break
        else:
            ports[name] = free_block(size, avoid=frozenset(ports.values()))
        if ports[name] == known:
            return known
        write_private(self._path, json.dumps(ports, indent=1))
        return ports[name]

    def find(self, name: str) -> int | None:
        """First port of the block ``name``, as it was given last; ``None`` before that."""
        return self._read().get(name)

    def _read(self) -> dict[str, int]:
        # A file that is missing or broken costs new ports, nothing else.
        with contextlib.suppress(OSError, ValueError):
            ports = json.loads(self._path.read_text(encoding="utf-8"))
            return {str(name): int(port) for name, port in ports.items()}
        return {}


def holder(port: int) -> str:
    """Who listens on ``port``, in words: pid and command, as far as this user may see."""
    for connection in psutil.net_connections(kind="tcp"):
        if connection.status != psutil.CONN_LISTEN or connection.laddr[1:] != (port,):
            continue
        if connection.pid is None:
            break
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            command = " ".join(psutil.Process(connection.pid).cmdline())
            return f"pid {connection.pid} ({command[:80]})"
    return "another user's process"


def require_free(ports: dict[str, int]) -> None:
    """
    Do nothing if all of ``ports`` (setting name to port) are free.

    Raises:
        PortTaken: Naming each port that is not, the process that holds it, and the way out.
    """
    taken = [
        f"port {port} is taken by {holder(port)}: stop it or set {name}"
        for name, port in ports.items()
        if not is_free(port)
    ]
    if taken:
        raise PortTaken("; ".join(taken))

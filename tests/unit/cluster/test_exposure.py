"""What a platform's processes listen on and how its dashboard answers, with real sockets."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest

from cluster.exposure import Exposed, OpenPorts, find_exposures, refuse_exposed
from cluster.settings import Settings

LISTEN = """
import socket, sys
listeners = []
for host in sys.argv[1:]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.bind((host, 0))
    listener.listen()
    listeners.append(listener)
print(*(listener.getsockname()[1] for listener in listeners), flush=True)
sys.stdin.read()
"""
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/nowhere"}
CLOSED = OpenPorts(service=frozenset(), haproxy=frozenset())
Listen = Callable[..., tuple[psutil.Process, list[int]]]


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Listen]:
    """Starts a process of some name that listens on each of some addresses."""
    children: list[subprocess.Popen[str]] = []

    def start(
        *hosts: str, program: str = "python3", title: str = "ray::x", env: dict[str, str] = TOKEN
    ) -> tuple[psutil.Process, list[int]]:
        own = tmp_path / program
        if not own.exists():
            own.symlink_to(Path(sys.executable).resolve())
        child = subprocess.Popen(
            [title, "-c", LISTEN, *hosts],
            executable=own,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": os.environ["PATH"]} | env,
        )
        children.append(child)
        assert child.stdout is not None
        return psutil.Process(child.pid), [int(port) for port in child.stdout.readline().split()]

    yield start
    for child in children:
        child.communicate(timeout=10)


@pytest.fixture
def dashboard() -> Iterator[Callable[[int], str]]:
    """A dashboard that answers everything with one status; gives its URL."""
    servers: list[HTTPServer] = []

    def start(status: int) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Keep the test's output clean."""

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("hosts", [("127.0.0.1",), ("::1",), ("::ffff:127.0.0.1",), ()])
def test_loopback_is_no_exposure(
    hosts: tuple[str, ...], listen: Listen, dashboard: Callable[[int], str]
) -> None:
    process, _ = listen(*hosts)

    assert find_exposures([process], CLOSED, dashboard(401)) == []
    refuse_exposed([process], CLOSED, dashboard(403))


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_listener_on_every_address_is_named(
    host: str, listen: Listen, dashboard: Callable[[int], str]
) -> None:
    process, (port,) = listen(host)

    with pytest.raises(Exposed, match=f"pid {process.pid} .* listens on {host} port {port}"):
        refuse_exposed([process], CLOSED, dashboard(401))


def test_haproxys_two_ports_are_expected_and_a_third_is_not(
    listen: Listen, dashboard: Callable[[int], str]
) -> None:
    process, ports = listen("0.0.0.0", "0.0.0.0", "0.0.0.0", program="haproxy")
    allowed = OpenPorts(service=frozenset(), haproxy=frozenset(ports[:2]))

    (fault,) = find_exposures([process], allowed, dashboard(401))

    assert f"(haproxy) listens on 0.0.0.0 port {ports[2]}" in fault


def test_another_program_may_not_have_haproxys_ports(
    listen: Listen, dashboard: Callable[[int], str]
) -> None:
    process, (port,) = listen("0.0.0.0")
    allowed = OpenPorts(service=frozenset(), haproxy=frozenset({port}))

    assert len(find_exposures([process], allowed, dashboard(401))) == 1


def test_a_replica_has_one_port_for_the_others(
    listen: Listen, dashboard: Callable[[int], str]
) -> None:
    one, _ = listen("::", title="ray::ServeReplica:slipway:Predictor")
    two, _ = listen("::", "0.0.0.0", title="ray::ServeReplica:slipway:Predictor")
    url = dashboard(401)

    assert find_exposures([one], CLOSED, url) == []
    assert len(find_exposures([two], CLOSED, url)) == 1


def test_the_service_is_open_where_host_says_so(
    listen: Listen, dashboard: Callable[[int], str]
) -> None:
    process, (port, replica) = listen("0.0.0.0", "0.0.0.0")
    url = dashboard(401)
    opened = Settings(_env_file=None, host="0.0.0.0", port=port)
    closed = opened.model_copy(update={"host": "127.0.0.1"})

    assert find_exposures([process], OpenPorts.of(opened, [replica]), url) == []
    assert len(find_exposures([process], OpenPorts.of(closed, [replica]), url)) == 2


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN_PATH": "/nowhere"},
        {"RAY_AUTH_MODE": "token"},
    ],
)
def test_a_process_without_the_token_mode_is_named(
    environment: dict[str, str], listen: Listen, dashboard: Callable[[int], str]
) -> None:
    process, _ = listen(program="raylet", env=environment)

    (fault,) = find_exposures([process], CLOSED, dashboard(401))

    assert fault.endswith("runs without RAY_AUTH_MODE=token")


def test_a_dashboard_that_asks_for_nothing_is_refused(dashboard: Callable[[int], str]) -> None:
    faults = find_exposures([], CLOSED, dashboard(200))

    assert len(faults) == 2
    assert all("without a token" in fault for fault in faults)


def test_a_dashboard_that_does_not_answer_proves_nothing() -> None:
    faults = find_exposures([], CLOSED, "http://127.0.0.1:1")

    assert all("does not answer" in fault for fault in faults)
    assert len(faults) == 2


def test_a_process_that_has_ended_is_no_fault(
    listen: Listen, dashboard: Callable[[int], str]
) -> None:
    process, _ = listen("0.0.0.0")
    process.kill()
    process.wait(10)

    assert find_exposures([process], CLOSED, dashboard(401)) == []

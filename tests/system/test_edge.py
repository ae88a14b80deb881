"""Behind the edge no prediction is lost when HAProxy or an ingress replica is killed."""

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.integration.edge.nginx import HOST, TOKEN, Edge, find_nginx
from tests.integration.edge.nginx import running as running_edge
from tests.system.platform import Platform, running, wait_until

pytestmark = [
    pytest.mark.quiet,
    pytest.mark.nginx,
    pytest.mark.skipif(find_nginx() is None, reason="nginx is missing: apt-get install nginx"),
]
PREDICT = "/api/v1/models/iris/predict"
ROW = {"instances": [[5.1, 3.5, 1.4, 0.2]]}
#: More than HAProxy itself can replay.
LARGE = {"instances": [[5.1, 3.5, 1.4, 0.2]] * 6000}
#: Ray names its replicas so; HAProxy is what its wheel calls it.
INGRESS, HAPROXY = "ServeReplica:slipway:Ingress", "/haproxy"


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, Edge, str]]:
    """A platform with its demonstration model, an edge before it, and a key."""
    changes = {"EDGE_TOKEN": TOKEN, "ALLOWED_HOSTS": f"{HOST},127.0.0.1", "WORKERS": "2"}
    with running(tmp_path_factory.mktemp("platform"), **changes) as platform:
        key_file = platform.home / "secrets" / "demonstration_key"
        wait_until(key_file.exists, what="the demonstration model")
        first = json.loads((platform.home / "ports.json").read_text())["ingress"]
        with running_edge(
            tmp_path_factory.mktemp("edge"),
            platform.port,
            first_replica_port=first,
            replica_ports=64,
        ) as edge:
            yield platform, edge, key_file.read_text().strip()


class Load:
    """Predictions one after another, until it is told to stop."""

    def __init__(self, edge: Edge, key: str, body: object) -> None:
        self._edge, self._key, self._body = edge, key, body
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.answers: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """Answers so far."""
        with self._lock:
            return self.answers.total()

    def run(self) -> None:
        """Ask and count by status; a connection that fails counts as what it raised."""
        with self._edge.client(timeout_s=60) as client:
            while not self._stop.is_set():
                try:
                    answer = client.post(PREDICT, json=self._body, headers={"X-API-Key": self._key})
                    outcome = str(answer.status_code)
                except Exception as error:  # noqa: BLE001 - whatever it is, it is a failure
                    outcome = repr(error)
                with self._lock:
                    self.answers[outcome] += 1

    @contextmanager
    def running(self) -> Iterator["Load"]:
        """Four clients at once."""
        threads = [threading.Thread(target=self.run, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(90)


def pids(platform: Platform, name: str) -> set[int]:
    found = set()
    for pid in platform.processes():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if name in command.split("\0")[0]:
            found.add(pid)
    return found


def kill_one(platform: Platform, name: str) -> tuple[set[int], int]:
    """Those there were, and the one that is killed; HAProxy's reloads give it new processes."""
    for _ in range(20):
        before = pids(platform, name)
        for pid in before:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                return before, pid
    raise AssertionError(f"no {name} to kill")


@pytest.mark.parametrize("body", [ROW, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("victim", [HAPROXY, INGRESS], ids=["haproxy", "ingress"])
def test_no_prediction_is_lost(
    front: tuple[Platform, Edge, str], victim: str, body: dict[str, object]
) -> None:
    platform, edge, key = front
    wait_until(lambda: len(pids(platform, INGRESS)) >= 2, what="two ingress replicas")
    with Load(edge, key, body).running() as load:
        wait_until(lambda: load.count >= 40, what="load")
        before, killed = kill_one(platform, victim)
        at_kill = load.count
        wait_until(
            lambda: len(pids(platform, victim) - {killed}) >= len(before), what="its successor"
        )
        wait_until(lambda: load.count >= at_kill + 200, what="more load")

    assert load.answers.keys() == {"200"}, load.answers


def test_a_stop_cuts_no_prediction(front: tuple[Platform, Edge, str]) -> None:
    """The last test of the platform; once it is gone the edge says so, with Retry-After."""
    platform, edge, key = front
    with Load(edge, key, ROW).running() as load:
        wait_until(lambda: load.count >= 40, what="load")
        code = platform.stop()
        at_end = load.count
        wait_until(lambda: load.count >= at_end + 40, what="refusals")
    with edge.client() as client:
        told = client.post(PREDICT, json=ROW, headers={"X-API-Key": key})

    assert code == 0
    assert load.answers.keys() == {"200", "502"}, load.answers
    assert (told.status_code, told.json()["code"]) == (502, "replica_unavailable")
    assert "Retry-After" in told.headers

"""A platform behind its edge, honest predictions, and the clients of ``hostile`` beside them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.edge.nginx import HOST, TOKEN, Edge
from tests.integration.edge.nginx import running as running_edge
from tests.system.honest import Caller, Honest, predicting
from tests.system.hostile import ATTACKS
from tests.system.platform import REPOSITORY, Platform, running, wait_until

#: What carries requests: Ray's names for its replicas, and that of the binary in Ray's wheel.
CARRIERS = ("ServeReplica:slipway:Ingress", "/haproxy")
#: Processes need a moment to begin.
MARGIN_S = 120.0
#: Between two looks at the memory.
SAMPLE_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The running platform, its edge, and a key for the demonstration model."""

    platform: Platform
    edge: Edge
    key: str

    def resident_bytes(self) -> int:
        """Memory of the edge, HAProxy and the Ingress replicas together."""
        total = self.edge.resident_bytes()
        for pid in self.platform.processes():
            with suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
                if any(name in command for name in CARRIERS):
                    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                    total += pages * os.sysconf("SC_PAGE_SIZE")
        return total

    def caller(self, rate_per_s: float) -> Caller:
        """The honest caller."""
        return Caller(
            port=self.edge.https_port,
            certificate=self.edge.certificate,
            key=self.key,
            rate_per_s=rate_per_s,
        )

    def attack(self, name: str, *, seconds: float) -> "subprocess.Popen[str]":
        """Hostile clients in a process of their own; it prints how they ended."""
        # They would have machines of their own: what they compute is not to be the service's loss.
        command = ["nice", "-n", "15", sys.executable, "-m", "tests.system.hostile", name]
        command += [str(self.edge.https_port), str(self.edge.certificate)]
        command += ["--seconds", str(seconds)]
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


@contextmanager
def opened(directory: Path) -> Iterator[Stage]:
    """A platform with the demonstration model behind a real edge with its usual bounds."""
    for name in ("platform", "edge"):
        (directory / name).mkdir()
    changes = {"EDGE_TOKEN": TOKEN, "ALLOWED_HOSTS": f"{HOST},127.0.0.1", "WORKERS": "2"}
    with running(directory / "platform", **changes) as platform:
        key_file = platform.home / "secrets" / "demonstration_key"
        wait_until(key_file.exists, what="the demonstration model")
        first = json.loads((platform.home / "ports.json").read_text())["ingress"]
        with running_edge(
            directory / "edge", platform.port, first_replica_port=first, replica_ports=64
        ) as edge:
            yield Stage(platform=platform, edge=edge, key=key_file.read_text().strip())


def attacked(
    stage: Stage, names: list[str], *, seconds: float, rate_per_s: float
) -> tuple[Honest, dict[str, Any], int]:
    """Honest answers while these attacks run at once, how those ended, and memory that it took."""
    if unknown := set(names) - ATTACKS.keys():
        raise ValueError(f"no such attacks: {unknown}")
    before = most = stage.resident_bytes()
    processes = {name: stage.attack(name, seconds=seconds) for name in names}
    with predicting(stage.caller(rate_per_s)) as honest:
        deadline_s = time.monotonic() + seconds + MARGIN_S
        endings: dict[str, Any] = {}
        while len(endings) < len(processes):
            most = max(most, stage.resident_bytes())
            name = next(name for name in processes if name not in endings)
            with suppress(subprocess.TimeoutExpired):
                endings[name] = json.loads(processes[name].communicate(timeout=SAMPLE_S)[0])
            if time.monotonic() > deadline_s:
                raise AssertionError(f"{name} did not end {MARGIN_S:.0f} s after its time")
    return honest, endings, most - before

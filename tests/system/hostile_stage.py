"""A platform behind its edge, honest predictions, and the clients of ``hostile`` beside them."""

import asyncio
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from tests.integration.edge.nginx import HOST, TOKEN, Edge
from tests.integration.edge.nginx import running as running_edge
from tests.system.hostile import ATTACKS
from tests.system.platform import REPOSITORY, Platform, running, wait_until

PREDICT = "/api/v1/models/iris/predict"
BODY = json.dumps({"instances": [[5.1, 3.5, 1.4, 0.2]]}).encode()
#: What carries requests: Ray's names for its replicas, and that of the binary in Ray's wheel.
CARRIERS = ("ServeReplica:slipway:Ingress", "/haproxy")
ANSWER_TIMEOUT_S = 30.0
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


@dataclass
class Honest:
    """Predictions at fixed times from an address of their own, timed from when each was due."""

    stage: Stage
    rate_per_s: float
    statuses: Counter[str] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    most_bytes: int = 0
    _idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send()))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def summary(self) -> dict[str, Any]:
        """Counts and milliseconds."""
        p50, p99, most = np.percentile(self.latencies_s, [50, 99, 100]) * 1000
        return {
            "statuses": dict(self.statuses),
            "p50_ms": round(float(p50), 1),
            "p99_ms": round(float(p99), 1),
            "most_ms": round(float(most), 1),
        }

    async def _send(self) -> None:
        context = ssl.create_default_context(cafile=str(self.stage.edge.certificate))
        began_s, number = time.monotonic(), 0
        async with asyncio.TaskGroup() as group:
            while not self._stop.is_set():
                due_s = began_s + number / self.rate_per_s
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                group.create_task(self._one(due_s, context))
                number += 1
        for _, writer in self._idle:
            writer.transport.abort()

    async def _one(self, due_s: float, context: ssl.SSLContext) -> None:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                outcome = await self._ask(context)
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            outcome = type(error).__name__
        self.latencies_s.append(time.monotonic() - due_s)
        self.statuses[outcome] += 1

    async def _ask(self, context: ssl.SSLContext) -> str:
        port = self.stage.edge.https_port
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=context, server_hostname=HOST
            )
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: {HOST}\r\nX-API-Key: {self.stage.key}\r\n"
        writer.write(f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = answer.lower().split(b"content-length:")[1].split(b"\r\n")[0]
        await reader.readexactly(int(length))
        self._idle.append((reader, writer))
        return answer.split(b" ", 2)[1].decode()


def attacked(
    stage: Stage, names: list[str], *, seconds: float, rate_per_s: float
) -> tuple[Honest, dict[str, Any], int]:
    """Honest answers while these attacks run at once, how those ended, and memory that it took."""
    if unknown := set(names) - ATTACKS.keys():
        raise ValueError(f"no such attacks: {unknown}")
    before = most = stage.resident_bytes()
    processes = {name: stage.attack(name, seconds=seconds) for name in names}
    with Honest(stage, rate_per_s) as honest:
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

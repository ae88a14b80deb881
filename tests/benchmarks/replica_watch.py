"""Looks twice a second at what Serve, our policy's log, our metrics and the processes say."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from cluster.ray_head import temporary_directory
from cluster.secrets import read_token
from tests.system.platform import Platform

PERIOD_S = 0.5
DEPLOYMENT = "Predictor"
_CHANGE = re.compile(rf"{DEPLOYMENT}: replicas (\d+) -> (\d+) \((\w+)\): (.*)")
_METRIC = re.compile(rf'ray_slipway_scaling_target{{[^}}]*scaled="{DEPLOYMENT}"[^}}]*}} (\S+)')


@dataclass(frozen=True, kw_only=True)
class Change:
    """One line of our policy in the controller's log."""

    before: int
    after: int
    cause: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One look; ``at_s`` is of ``time.monotonic``."""

    at_s: float
    target: int
    #: Process ids of the replicas that run.
    running: tuple[int, ...]
    #: Replicas in any other state.
    others: int
    #: Cores that the running replicas used since the look before.
    cores: float
    #: ``slipway_scaling_target`` at the exporter, which is up to ten seconds behind.
    exported: float | None
    #: New in the log since the look before.
    changes: tuple[Change, ...]


@dataclass
class Watch:
    """What was seen of one platform's Predictors."""

    platform: Platform
    samples: list[Sample] = field(default_factory=list)
    _cpu_s: dict[int, float] = field(default_factory=dict)
    _read: dict[Path, int] = field(default_factory=dict)
    _exporters: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Connect to the dashboard; what the log says already is not new."""
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.platform.environment['DASHBOARD_PORT']}",
            headers={
                "Authorization": f"Bearer {read_token(self.platform.home / 'secrets/ray_token')}"
            },
            timeout=15,
            trust_env=False,
        )
        groups = self._http.get("/api/prometheus/sd").raise_for_status().json()
        self._exporters = [target for group in groups for target in group["targets"]]
        self._changes()

    def look(self) -> Sample:
        """One sample of now, kept."""
        answer = self._http.get("/api/serve/applications/").raise_for_status().json()
        at_s = time.monotonic()
        found: dict[str, Any] = answer["applications"]["slipway"]["deployments"][DEPLOYMENT]
        running = [int(r["pid"]) for r in found["replicas"] if r["state"] == "RUNNING"]
        sample = Sample(
            at_s=at_s,
            target=int(found["target_num_replicas"]),
            running=tuple(sorted(running)),
            others=len(found["replicas"]) - len(running),
            cores=self._cores(running, at_s),
            exported=self._exported(),
            changes=self._changes(),
        )
        self.samples.append(sample)
        return sample

    def cpu_s(self, pid: int) -> float:
        """Processor seconds of a running replica at the last look."""
        return self._cpu_s.get(pid, 0.0)

    def _cores(self, pids: list[int], at_s: float) -> float:
        spent_s = 0.0
        for pid in pids:
            with suppress(psutil.Error):
                times = psutil.Process(pid).cpu_times()
                cpu_s = times.user + times.system
                spent_s += cpu_s - self._cpu_s.get(pid, cpu_s)
                self._cpu_s[pid] = cpu_s
        if not self.samples:
            return 0.0
        return spent_s / (at_s - self.samples[-1].at_s)

    def _exported(self) -> float | None:
        for exporter in self._exporters:
            with suppress(httpx.HTTPError):
                if found := _METRIC.findall(self._http.get(f"http://{exporter}/metrics").text):
                    return max(map(float, found))
        return None

    def _changes(self) -> tuple[Change, ...]:
        logs = temporary_directory(self.platform.home).glob("session_2*/logs/serve/controller_*")
        changes: list[Change] = []
        for path in logs:
            text = path.read_text(encoding="utf-8", errors="replace")
            changes += _found(text[self._read.get(path, 0) :])
            self._read[path] = len(text)
        return tuple(changes)


def _found(text: str) -> list[Change]:
    return [
        Change(before=int(before), after=int(after), cause=cause, reason=reason.rstrip('"}\\'))
        for before, after, cause, reason in _CHANGE.findall(text)
    ]


@contextmanager
def watching(platform: Platform) -> Iterator[Watch]:
    """A watch that looks by itself until the block ends."""
    watch = Watch(platform)
    ends = threading.Event()

    def run() -> None:
        while not ends.wait(PERIOD_S):
            # On a busy machine the dashboard is away for moments.
            with suppress(httpx.HTTPError, KeyError):
                watch.look()

    thread = threading.Thread(target=run, name="watch")
    thread.start()
    try:
        yield watch
    finally:
        ends.set()
        thread.join()

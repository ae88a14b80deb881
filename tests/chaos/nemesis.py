"""Kills, stops, slows, fills and redeploys one platform, its processes found by role and pid."""

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Self

import psutil

from cluster.serve_api import DeployFailed
from tests.chaos.serve_control import ServeControl
from tests.chaos.slow_valkey import DELAY_S, Relay
from tests.chaos.small_disk import SmallDisk
from tests.system.platform import Platform

STOPPED_S = 10.0
PATIENCE_S = 60.0
#: Role -> how its processes call themselves; the others are deployments.
PREFIXES = {
    "controller": "ray::ServeController",
    "haproxy": "haproxy",
    "valkey": "valkey-server",
    "postgres": "postgres",
    "postmaster": "postgres",
    # Ray's head ends with any process of its own.
    "head": "gcs_server",
}
Fault = Callable[[], Awaitable[str]]


@dataclass(frozen=True)
class Nemesis:
    """Does harm to ``platform`` with the dice of ``random``."""

    platform: Platform
    random: random.Random
    #: How long what is stopped, slowed or filled stays so.
    stopped_s: float = STOPPED_S
    disk: SmallDisk | None = None
    valkey: Relay | None = None

    @classmethod
    def seeded(cls, platform: Platform, seed: int) -> Self:
        """One whose dice fall by ``seed``."""
        return cls(platform, random.Random(seed))

    def faults(self) -> dict[str, Fault]:
        """Every fault by its name; each answers what was done, once it is over."""
        return {
            "kill-predictor": lambda: self._kill("Predictor"),
            "kill-ingress": lambda: self._kill("Ingress"),
            "kill-loader": lambda: self._kill("Loader"),
            "kill-controller": lambda: self._kill("controller"),
            "kill-haproxy": lambda: self._kill("haproxy"),
            "kill-valkey": lambda: self._kill("valkey"),
            "kill-postgres": lambda: self._kill("postmaster"),
            "kill-head": lambda: self._kill("head"),
            "stop-predictor": lambda: self._stop("Predictor"),
            "stop-ingress": lambda: self._stop("Ingress"),
            "stop-controller": lambda: self._stop("controller"),
            "stop-postgres": lambda: self._stop("postgres"),
            "stop-valkey": lambda: self._stop("valkey"),
            "rolling-update": self._roll,
            "scale": self._scale,
            "slow-valkey": self._slow_valkey,
            "fill-disk": self._fill_disk,
        }

    async def _kill(self, role: str) -> str:
        pid = self.random.choice(await self._victims(role))
        os.kill(pid, signal.SIGKILL)
        return f"SIGKILL {role} {pid}"

    async def _stop(self, role: str) -> str:
        pids = await self._victims(role)
        chosen = pids if role == "postgres" else [self.random.choice(pids)]
        _signal(chosen, signal.SIGSTOP)
        try:
            await asyncio.sleep(self.stopped_s)
        finally:
            _signal(chosen, signal.SIGCONT)
        return f"SIGSTOP {role} {chosen[0]} for {self.stopped_s:.0f} s"

    async def _roll(self) -> str:
        return await asyncio.to_thread(ServeControl(self.platform).roll)

    async def _scale(self) -> str:
        return await asyncio.to_thread(ServeControl(self.platform).scale, 1, 4, 1)

    async def _slow_valkey(self) -> str:
        assert self.valkey is not None
        self.valkey.delay_s = DELAY_S
        try:
            await asyncio.sleep(self.stopped_s)
        finally:
            self.valkey.delay_s = 0.0
        return f"Valkey slower by {1000 * DELAY_S:.0f} ms for {self.stopped_s:.0f} s"

    async def _fill_disk(self) -> str:
        assert self.disk is not None
        try:
            taken = self.disk.fill()
            await asyncio.sleep(self.stopped_s)
        finally:
            self.disk.free()
        return f"the last {taken / 1e6:.0f} MB of the disk taken for {self.stopped_s:.0f} s"

    async def _victims(self, role: str) -> list[int]:
        """Processes of a role, once what an earlier fault took is there again."""
        least = 1 if role in PREFIXES else 2
        for _ in range(int(PATIENCE_S)):
            if len(found := await asyncio.to_thread(self.pids, role)) >= least:
                return found
            await asyncio.sleep(1)
        raise AssertionError(f"fewer than {least} processes of {role} for {PATIENCE_S:.0f} s")

    def pids(self, role: str) -> list[int]:
        """Processes of a role; none while Serve cannot say."""
        if role in PREFIXES:
            found = [pid for pid in self._own() if _title(pid).startswith(PREFIXES[role])]
            # Backends end with the process that they are children of.
            return [pid for pid in found if role != "postmaster" or _parent(pid) not in found]
        try:
            return sorted(set(self.actors(role).values()) & set(self._own()))
        except (DeployFailed, KeyError):
            return []

    def actors(self, deployment: str) -> dict[str, int]:
        """Actor ids of a deployment's running replicas, with their pids."""
        return {
            str(replica["actor_id"]): int(replica["pid"])
            for replica in ServeControl(self.platform).replicas()[deployment]
            if replica["state"] == "RUNNING"
        }

    def _own(self) -> list[int]:
        """Descendants of this platform's launcher: what is killed is never somebody else's."""
        assert self.platform.process is not None
        launcher = psutil.Process(self.platform.process.pid)
        return [process.pid for process in launcher.children(recursive=True)]


def _title(pid: int) -> str:
    """Name and what the process calls itself."""
    try:
        process = psutil.Process(pid)
        name, line = process.name(), " ".join(process.cmdline())
    except psutil.Error:
        return ""
    return line if line.startswith("ray::") else name


def _parent(pid: int) -> int:
    try:
        return psutil.Process(pid).ppid()
    except psutil.Error:
        return 0


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue

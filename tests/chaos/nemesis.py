"""Kills and stops processes of one platform, found by role, named by pid; nobody else's."""

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

import httpx
import psutil

from tests.system.platform import Platform

DASHBOARD_TIMEOUT_S = 15
STOPPED_S = 10.0
PATIENCE_S = 60.0
#: Role -> how its processes call themselves; the others are deployments.
PREFIXES = {
    "controller": "ray::ServeController",
    "haproxy": "haproxy",
    "valkey": "valkey-server",
    "postgres": "postgres",
}
Fault = Callable[[], Awaitable[str]]


@dataclass(frozen=True)
class Nemesis:
    """Does harm to ``platform`` with the dice of ``random``."""

    platform: Platform
    random: random.Random

    @classmethod
    def seeded(cls, platform: Platform, seed: int) -> Self:
        """One whose dice fall by ``seed``."""
        return cls(platform, random.Random(seed))

    def faults(self) -> dict[str, Fault]:
        """Every fault by its name; each answers what was done."""
        return {
            "kill-predictor": lambda: self._kill("Predictor"),
            "kill-ingress": lambda: self._kill("Ingress"),
            "kill-loader": lambda: self._kill("Loader"),
            "kill-controller": lambda: self._kill("controller"),
            "kill-haproxy": lambda: self._kill("haproxy"),
            "stop-predictor": lambda: self._stop("Predictor"),
            "stop-postgres": lambda: self._stop("postgres"),
            "stop-valkey": lambda: self._stop("valkey"),
            "kill-valkey": lambda: self._kill("valkey"),
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
            await asyncio.sleep(STOPPED_S)
        finally:
            _signal(chosen, signal.SIGCONT)
        return f"SIGSTOP {role} {chosen[0]} for {STOPPED_S:.0f} s"

    async def _victims(self, role: str) -> list[int]:
        """Processes of a role, once what an earlier fault took is there again."""
        least = 1 if role in PREFIXES else 2
        for _ in range(int(PATIENCE_S)):
            if len(found := await asyncio.to_thread(self.pids, role)) >= least:
                return found
            await asyncio.sleep(1)
        raise AssertionError(f"fewer than {least} processes of {role} for {PATIENCE_S:.0f} s")

    def pids(self, role: str) -> list[int]:
        """Processes of a role."""
        if role in PREFIXES:
            return [pid for pid in self._own() if _title(pid).startswith(PREFIXES[role])]
        return sorted(set(self.actors(role).values()) & set(self._own()))

    def actors(self, deployment: str) -> dict[str, int]:
        """Actor ids of a deployment's running replicas, with their pids."""
        deployments = self._serve()["applications"]["slipway"]["deployments"]
        replicas = deployments[deployment]["replicas"]
        return {
            str(replica["actor_id"]): int(replica["pid"])
            for replica in replicas
            if replica["state"] == "RUNNING"
        }

    def _own(self) -> list[int]:
        """Descendants of this platform's launcher: what is killed is never somebody else's."""
        assert self.platform.process is not None
        launcher = psutil.Process(self.platform.process.pid)
        return [process.pid for process in launcher.children(recursive=True)]

    def _serve(self) -> Any:
        port = self.platform.environment["DASHBOARD_PORT"]
        token = (self.platform.home / "secrets" / "ray_token").read_text(encoding="utf-8").strip()
        answer = httpx.get(
            f"http://127.0.0.1:{port}/api/serve/applications/",
            headers={"Authorization": f"Bearer {token}"},
            timeout=DASHBOARD_TIMEOUT_S,
            trust_env=False,
        )
        return answer.raise_for_status().json()


def _title(pid: int) -> str:
    """Name and what the process calls itself."""
    try:
        process = psutil.Process(pid)
        name, line = process.name(), " ".join(process.cmdline())
    except psutil.Error:
        return ""
    return line if line.startswith("ray::") else name


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue

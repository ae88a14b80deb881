"""Honest clients beside hostile ones: predictions at fixed times, from a process of their own."""

import asyncio
import json
import multiprocessing
import ssl
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.integration.edge.nginx import HOST
from tests.on_time import on_time
from tests.system.platform import REPOSITORY

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Event

PREDICT = "/api/v1/models/iris/predict"
BODY = json.dumps({"instances": [[5.1, 3.5, 1.4, 0.2]]}).encode()
ANSWER_TIMEOUT_S = 30.0
PATIENCE_S = 60.0


@dataclass(kw_only=True)
class Honest:
    """What became of the predictions, each timed from when it was due."""

    statuses: Counter[str] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Counts and milliseconds."""
        p50, p99, most = np.percentile(self.latencies_s, [50, 99, 100]) * 1000
        return {
            "statuses": dict(self.statuses),
            "p50_ms": round(float(p50), 1),
            "p99_ms": round(float(p99), 1),
            "most_ms": round(float(most), 1),
        }


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Where predictions go, how many a second, and as whom."""

    port: int
    certificate: Path
    key: str
    rate_per_s: float


@contextmanager
def predicting(caller: Caller) -> Iterator[Honest]:
    """Predictions while the block runs; what became of them is known after it."""
    spawn = multiprocessing.get_context("spawn")
    has_begun, is_over, outcome = spawn.Event(), spawn.Event(), spawn.Queue()
    arguments = (caller, has_begun, is_over, outcome)
    # pytest imports this module by its file; the new interpreter finds it by the parent's path.
    if str(REPOSITORY) not in sys.path:
        sys.path.append(str(REPOSITORY))
    process = spawn.Process(target=_predict, args=arguments, daemon=True)
    process.start()
    honest = Honest()
    try:
        if not has_begun.wait(PATIENCE_S):
            raise TimeoutError("no prediction was sent")
        yield honest
    finally:
        is_over.set()
        found: Honest = outcome.get(timeout=PATIENCE_S)
        process.join()
        honest.statuses, honest.latencies_s = found.statuses, found.latencies_s


def _predict(
    caller: Caller, has_begun: "Event", is_over: "Event", outcome: "Queue[Honest]"
) -> None:
    sender = _Sender(caller)
    with on_time():
        asyncio.run(sender.send(has_begun, is_over))
    outcome.put(sender.found)


class _Sender:
    """Sends at fixed times over kept connections."""

    def __init__(self, caller: Caller) -> None:
        self.found = Honest()
        self._caller = caller
        self._context = ssl.create_default_context(cafile=str(caller.certificate))
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(self, has_begun: "Event", is_over: "Event") -> None:
        """Until told to stop; returns when everything is answered."""
        began_s, number = time.monotonic(), 0
        has_begun.set()
        async with asyncio.TaskGroup() as group:
            while not is_over.is_set():
                due_s = began_s + number / self._caller.rate_per_s
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                group.create_task(self._one(due_s))
                number += 1
        for _, writer in self._idle:
            writer.transport.abort()

    async def _one(self, due_s: float) -> None:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                outcome = await self._ask()
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            outcome = type(error).__name__
        self.found.latencies_s.append(time.monotonic() - due_s)
        self.found.statuses[outcome] += 1

    async def _ask(self) -> str:
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self._caller.port, ssl=self._context, server_hostname=HOST
            )
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: {HOST}\r\nX-API-Key: {self._caller.key}\r\n"
        writer.write(f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = answer.lower().split(b"content-length:")[1].split(b"\r\n")[0]
        await reader.readexactly(int(length))
        self._idle.append((reader, writer))
        return answer.split(b" ", 2)[1].decode()

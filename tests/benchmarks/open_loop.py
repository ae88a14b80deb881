"""
Open loop: requests leave at fixed times whatever became of those before.

Latency counts from the time at which a request was due, so that a stall is seen by every request
that it delayed (no coordinated omission).
"""

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

from tests.benchmarks.closed_loop import Target
from tests.on_time import on_time

#: Connections at most; a request that finds none waits, and its latency says so.
MAX_CONNECTIONS = 256
TIMEOUT_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Open:
    """What one open-loop run measured."""

    target: str
    rate_per_s: float
    requests: int
    failures: int
    #: What came instead of a 200: a status, or the name of an exception.
    failed_as: dict[str, int]
    p50_ms: float
    p90_ms: float
    p99_ms: float
    most_ms: float


def run(target: Target, *, rate_per_s: float, seconds: float) -> Open:
    """Send ``rate_per_s * seconds`` requests evenly spaced."""
    with on_time():
        latencies_s, failed_as = asyncio.run(
            _send_all(target, rate_per_s, int(rate_per_s * seconds))
        )
    p50, p90, p99, most = 1000 * np.percentile(latencies_s, [50, 90, 99, 100])
    return Open(
        target=target.name,
        rate_per_s=rate_per_s,
        requests=len(latencies_s),
        failures=failed_as.total(),
        failed_as=dict(failed_as),
        p50_ms=float(p50),
        p90_ms=float(p90),
        p99_ms=float(p99),
        most_ms=float(most),
    )


class _Connections:
    """Kept-alive connections to one server."""

    def __init__(self, target: Target) -> None:
        parts = urlsplit(target.url)
        self._host, self._port = str(parts.hostname), int(parts.port or 80)
        body = json.dumps(target.body).encode()
        headers = {
            "Host": f"{self._host}:{self._port}",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **target.headers,
        }
        lines = [f"POST {parts.path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
        self._request = "\r\n".join([*lines, "", ""]).encode() + body
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._places = asyncio.Semaphore(MAX_CONNECTIONS)

    async def ask(self) -> str:
        """Send one request; the status of its answer."""
        async with self._places, asyncio.timeout(TIMEOUT_S):
            if self._idle:
                reader, writer = self._idle.pop()
            else:
                reader, writer = await asyncio.open_connection(self._host, self._port)
            writer.write(self._request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            self._idle.append((reader, writer))
            return head.split(maxsplit=2)[1].decode()

    def close(self) -> None:
        """Close what is idle."""
        for _, writer in self._idle:
            writer.close()


async def _send_all(
    target: Target, rate_per_s: float, count: int
) -> tuple[list[float], Counter[str]]:
    connections = _Connections(target)
    latencies_s: list[float] = []
    failed_as: Counter[str] = Counter()

    async def one(due_s: float) -> None:
        try:
            status = await connections.ask()
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            status = type(error).__name__
        if status != "200":
            failed_as[status] += 1
        latencies_s.append(time.perf_counter() - due_s)

    started_s = time.perf_counter() + 0.05
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            due_s = started_s + number / rate_per_s
            delay_s = due_s - time.perf_counter()
            if delay_s > 0:
                await asyncio.sleep(delay_s)
            group.create_task(one(due_s))
    connections.close()
    return latencies_s, failed_as

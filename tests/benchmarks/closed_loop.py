"""
Closed loop: so many connections, each sending its next request when the last is answered.

The load is made by wrk; what is reported beside it is the CPU time a request, which a noisy
neighbour moves little, unlike requests a second.
"""

import json
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.processes import cpu_s, spent_s

_UNITS_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True, kw_only=True)
class Target:
    """One request to send again and again."""

    name: str
    url: str
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Closed:
    """What one closed-loop run measured."""

    target: str
    connections: int
    requests: int
    failures: int
    requests_per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    #: Role -> microseconds of CPU time a request.
    cpu_us: dict[str, float]

    @property
    def cpu_us_all(self) -> float:
        """Over all processes of the service."""
        return sum(self.cpu_us.values())


def run(
    target: Target,
    *,
    connections: int,
    seconds: int,
    pids: Callable[[], Iterable[int]],
    scratch: Path,
) -> Closed:
    """
    Load ``target`` for ``seconds``.

    Args:
        target: What to send.
        connections: How many requests are open at any time.
        seconds: Of load.
        pids: The service's processes; asked before and after.
        scratch: A directory for wrk's script.
    """
    script = scratch / "request.lua"
    script.write_text(_script(target))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "30s"]
    before = cpu_s(pids())
    done = subprocess.run(
        [*command, "-s", str(script), target.url],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=True,
    )
    spent = spent_s(before, cpu_s(pids()))
    text = done.stdout
    requests = int(_found(r"(\d+) requests in", text))
    failures = int(_found(r"Non-2xx or 3xx responses: (\d+)", text, "0"))
    failures += sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", text)))
    return Closed(
        target=target.name,
        connections=connections,
        requests=requests,
        failures=failures,
        requests_per_s=float(_found(r"Requests/sec:\s+(\S+)", text)),
        p50_ms=_percentile_ms(50, text),
        p90_ms=_percentile_ms(90, text),
        p99_ms=_percentile_ms(99, text),
        cpu_us={role: 1e6 * s / max(requests, 1) for role, s in sorted(spent.items()) if s > 0},
    )


def _script(target: Target) -> str:
    lines = ["wrk.method = 'POST'", f"wrk.body = {json.dumps(json.dumps(target.body))}"]
    headers = {"Content-Type": "application/json", **target.headers}
    lines += [f"wrk.headers['{name}'] = '{value}'" for name, value in headers.items()]
    return "\n".join(lines)


def _found(pattern: str, text: str, default: str | None = None) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    if match is None and default is None:
        raise RuntimeError(f"wrk said:\n{text}")
    return default or "" if match is None else match.group(1)


def _percentile_ms(percent: int, text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(\w+)", _found(rf"^\s+{percent}%\s+(\S+)", text)).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS_MS[unit]

"""
Measures a platform of its own: ``make bench``, or ``python -m tests.benchmarks.run``.

Writes one JSON document and prints its table.  Requests a second and latencies are those of a
machine that also makes the load; compare CPU time a request, and ratios within one run.
"""

import argparse
import json
import os
import platform as machine
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

from tests.benchmarks import models, processes, report
from tests.benchmarks.open_loop import Open
from tests.benchmarks.ours import ECHO, Bench, started

RATES_PER_S = (100, 300)
CONNECTIONS = (1, 64)
_PACKAGES = ("ray", "fastapi", "uvicorn", "uvloop", "numpy", "scikit-learn", "orjson")


def measured(*, is_short_path: bool, seconds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """All runs over one platform; the echo at the start and at the end."""
    names = (ECHO, *models.NAMES, ECHO)
    with started(is_short_path=is_short_path) as bench:
        idle = processes.pss_bytes(bench.platform.processes())
        closed = []
        for count, name in product(CONNECTIONS, names):
            say(f"{name}, {count} connections")
            closed.append(bench.closed(name, connections=count, seconds=seconds))
        return {
            "is_short_path": is_short_path,
            "start_s": bench.start_s,
            "upload_s": bench.upload_s,
            "first_prediction_ms": bench.first_ms,
            "pss_bytes": idle,
            "closed": [asdict(run) | {"cpu_us_all": run.cpu_us_all} for run in closed],
            "open": [asdict(run) for run in _open(bench, seconds, say)],
        }


def _open(bench: Bench, seconds: int, say: Callable[[str], None]) -> list[Open]:
    runs = []
    for rate, name in product(RATES_PER_S, models.NAMES):
        say(f"{name}, {rate} requests/s")
        runs.append(bench.open(name, rate_per_s=rate, seconds=seconds))
    return runs


def machine_facts() -> dict[str, Any]:
    """What the figures were measured on, and how busy it was."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        machine.machine(),
    )
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "kernel": machine.release(),
        "python": machine.python_version(),
        "load_average": os.getloadavg(),
        "packages": {name: version(name) for name in _PACKAGES},
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Run, write and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=6, help="of each run")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/latest.json"))
    parser.add_argument("--only", choices=("short", "predictors"), help="one of the two platforms")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing: apt-get install wrk")
    ways = {"short": True, "predictors": False}
    chosen = [options.only] if options.only else list(ways)
    document = {"machine": machine_facts(), "seconds": options.seconds, "platforms": []}
    for way in chosen:
        _say(f"starting a platform: {way}")
        found = measured(is_short_path=ways[way], seconds=options.seconds, say=_say)
        document["platforms"].append(found)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(report.table(document))


if __name__ == "__main__":
    main()

"""
What the intake costs: ``python -m tests.benchmarks.intake``.

Times the vetting of a 10 MB forest in a sandbox of its own, the whole upload of it to a platform
of its own, and predictions while twenty hostile uploads are in flight, beside predictions in
quiet.  Writes one JSON document; the load of the machine before and after each part stands in it,
since a busy machine stretches all of these.
"""

import argparse
import asyncio
import contextlib
import gzip
import hashlib
import json
import multiprocessing
import os
import pickle
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import psutil
from sklearn.ensemble import RandomForestClassifier

from cluster.contracts import ArtifactFormat, VetRequest
from deployments.intake.sandbox import Sandbox
from tests.benchmarks import models
from tests.benchmarks.ours import Bench, started
from tests.benchmarks.run import machine_facts
from tests.system.client import ApiUser
from tests.unit.deployments.intake.hostile import call, named, stream, text

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Event

FOREST_BYTES = 10_000_000
HOSTILE_AT_ONCE = 20
RATE_PER_S = 50
#: Each user's uploads wait for each other.
HOSTILE_USERS = 5
ATTACKERS_NICENESS = 10


def forest() -> RandomForestClassifier:
    """A forest whose pickle has about ``FOREST_BYTES``."""
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(4_000, 20))
    classes = draw.integers(0, 2, 4_000)
    one = RandomForestClassifier(4, random_state=0).fit(rows, classes)
    trees = round(FOREST_BYTES / (len(pickle.dumps(one)) / 4))
    return RandomForestClassifier(trees, random_state=0).fit(rows, classes)


def hostile_files() -> list[bytes]:
    """Files that are refused late or early, and would like to take long."""
    return [
        stream(call(named("os", "system"), text("touch /nonexistent/escaped"))),
        gzip.compress(bytes(64 << 20)),
        stream(b"]" + b"Na" * 2_000_000),
        stream(b"N" + b"\x85" * 100_000),
        os.urandom(1 << 20),
    ]


def quantiles_ms(samples_s: list[float]) -> dict[str, float]:
    """Median, 95th percentile and the longest, in milliseconds."""
    p50, p95, most = 1000 * np.percentile(samples_s, [50, 95, 100])
    return {"p50_ms": round(p50, 1), "p95_ms": round(p95, 1), "most_ms": round(most, 1)}


def with_load(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``measure`` found, and the machine's load average around it."""
    before = os.getloadavg()[0]
    found = measure()
    return found | {"load_before": round(before, 1), "load_after": round(os.getloadavg()[0], 1)}


def vetting(content: bytes, count: int) -> dict[str, Any]:
    """
    Gates 0 to 4 in the sandbox, one file after the other, without HTTP or storage.

    The parity check of the engines stands apart, as it does in the goal.
    """
    sandbox = Sandbox()
    sandbox.start()
    request = VetRequest(
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        allowed_formats=get_args(ArtifactFormat),
    )
    try:
        asyncio.run(sandbox.vet(content, request))
        zygote = psutil.Process(sandbox.zygote_pid)
        before_s = _children_s(zygote)
        samples_s, parity_s = [], []
        for _ in range(count):
            began_s = time.perf_counter()
            report = asyncio.run(sandbox.vet(content, request))
            parity_s.append(report.parity_s)
            samples_s.append(time.perf_counter() - began_s - report.parity_s)
        spent_s = (_children_s(zygote) - before_s) / count
    finally:
        sandbox.stop()
    return {
        "size_bytes": len(content),
        "count": count,
        **quantiles_ms(samples_s),
        "parity": quantiles_ms(parity_s),
        "child_cpu_ms": round(1000 * spent_s, 1),
    }


def _children_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.children_user + times.children_system)


def uploads(user: ApiUser, model: RandomForestClassifier, count: int) -> dict[str, Any]:
    """POST to 201, each with bytes of its own."""
    samples_s = []
    for number in range(count):
        model.random_state = number + 1
        content = pickle.dumps(model)
        began_s = time.perf_counter()
        user.upload(f"forest-{number}", content).raise_for_status()
        samples_s.append(time.perf_counter() - began_s)
    return {"count": count, **quantiles_ms(samples_s)}


def attack(url: str, has_begun: "Event", is_over: "Event", outcome: "Queue[Counter[int]]") -> None:
    """
    Keep ``HOSTILE_AT_ONCE`` uploads in flight until ``is_over``; the body of a process.

    Args:
        url: Of the platform.
        has_begun: Set once the first uploads leave.
        is_over: Set from outside.
        outcome: Gets how often each status was answered.
    """
    # Attackers have machines of their own; here they must not take the cores from who measures.
    # A session of their own, since that is by what autogroup (sched(7)) shares the cores out.
    os.setsid()
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text("19", encoding="ascii")
    os.nice(ATTACKERS_NICENESS)
    users = [ApiUser.register(url) for _ in range(HOSTILE_USERS)]
    files, statuses = hostile_files(), Counter[int]()

    def keep_uploading(number: int) -> None:
        turn = number
        while not is_over.is_set():
            answer = users[number % len(users)].upload(f"evil-{number}", files[turn % len(files)])
            statuses[answer.status_code] += 1
            turn += 1

    threads = [threading.Thread(target=keep_uploading, args=(n,)) for n in range(HOSTILE_AT_ONCE)]
    for thread in threads:
        thread.start()
    has_begun.set()
    for thread in threads:
        thread.join()
    outcome.put(statuses)


@contextmanager
def under_attack(url: str) -> Iterator[Counter[int]]:
    """
    A process that attacks while the block runs; counts the statuses it was answered.

    Not threads: they would hold up the clock of who measures in the same interpreter.
    """
    spawn = multiprocessing.get_context("spawn")
    has_begun, is_over, outcome = spawn.Event(), spawn.Event(), spawn.Queue()
    statuses = Counter[int]()
    process = spawn.Process(target=attack, args=(url, has_begun, is_over, outcome), daemon=True)
    process.start()
    try:
        if not has_begun.wait(timeout=60):
            raise TimeoutError("the attack did not begin")
        yield statuses
    finally:
        is_over.set()
        statuses.update(outcome.get(timeout=120))
        process.join()


def predictions(bench: Bench, seconds: float) -> dict[str, Any]:
    """Open-loop predictions in quiet and under attack, in turn."""
    quiet, attacked, statuses = [], [], Counter[int]()
    for _ in range(3):
        quiet.append(bench.open(models.FOREST, rate_per_s=RATE_PER_S, seconds=seconds))
        with under_attack(bench.platform.url) as answered:
            attacked.append(bench.open(models.FOREST, rate_per_s=RATE_PER_S, seconds=seconds))
        statuses += answered
    p99_ms = [float(np.median([run.p99_ms for run in runs])) for runs in (quiet, attacked)]
    return {
        "quiet": [asdict(run) for run in quiet],
        "attacked": [asdict(run) for run in attacked],
        "hostile_statuses": {str(status): count for status, count in statuses.items()},
        "p99_quiet_ms": p99_ms[0],
        "p99_attacked_ms": p99_ms[1],
        "p99_change": round(p99_ms[1] / p99_ms[0] - 1, 3),
    }


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=30, help="vettings, and a third as uploads")
    parser.add_argument("--seconds", type=float, default=30, help="of each run of predictions")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/intake.json"))
    options = parser.parse_args()
    model = forest()
    content = pickle.dumps(model)
    document: dict[str, Any] = {"machine": machine_facts()}
    document["vetting"] = with_load(lambda: vetting(content, options.count))
    with started(is_short_path=True) as bench:
        user = ApiUser.register(bench.platform.url)
        document["upload"] = with_load(lambda: uploads(user, model, max(1, options.count // 3)))
        document["predictions"] = with_load(lambda: predictions(bench, options.seconds))
    options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: document[key] for key in ("vetting", "upload")}, indent=1))
    print(json.dumps({k: v for k, v in document["predictions"].items() if "p99" in k}))


if __name__ == "__main__":
    main()

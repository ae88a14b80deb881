"""
Three times as many predictions as can be answered: ``make chaos-overload``, or

    python -m tests.chaos.overload [--times 3] [--seconds 60] [--connections 2000] [--model slow]

Finds the peak in a closed loop, offers a multiple of it, and says what became of goodput, memory
and latency.  Writes ``docs/chaos/overload-<model>-<date>.json``; exits with 1 if a goal is not
met.  The load is made on the same machine: the document has the rate that was really offered.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.neighbors import KNeighborsRegressor

from tests.benchmarks.closed_loop import Target
from tests.benchmarks.processes import pss_bytes
from tests.benchmarks.run import machine_facts
from tests.chaos.flood import Flood, flood
from tests.chaos.load import MODEL
from tests.chaos.serve_control import ServeControl
from tests.chaos.stages import Stage, staged
from tests.chaos.writers import model_file
from tests.system.client import ApiUser, as_bytes
from tests.system.platform import REPOSITORY

REPORTS = REPOSITORY / "docs" / "chaos"
ROWS, FEATURES = 50_000, 16


def quick_model() -> bytes:
    """The ingress is what limits it."""
    return model_file(1)


def slow_model() -> bytes:
    """Some milliseconds in native code for each row: Predictors are what limits it."""
    rows = np.random.default_rng(0).normal(size=(ROWS, FEATURES))
    model = KNeighborsRegressor(5, algorithm="brute", metric="manhattan")
    return as_bytes(model.fit(rows, rows[:, 0]), "joblib")


#: The file, and the row that is asked for.
MODELS = {"quick": (quick_model, [3.0]), "slow": (slow_model, [0.5] * FEATURES)}
#: Connections of the closed loops; the best of them is the peak.
PEAK_CONNECTIONS = (16, 64, 256)
#: What is offered first, to find how long connections must wait for the rate wanted.
TRIAL_S, TRIALS, MOST_OVER = 5, 6, 1.08
GOODPUT_KEPT, MEMORY_GROWTH, RECOVERED_S, OFFERED_SHARE = 0.8, 0.1, 5.0, 0.95
PROBES, PROBE_PAUSE_S, PROBING_S = 20, 0.02, 60.0


def main() -> int:
    """Measure and write; the exit code."""
    arguments = _arguments()
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing: apt-get install wrk")
    with (
        tempfile.TemporaryDirectory(prefix="slipway-chaos-") as directory,
        staged(Path(directory), (), is_edged=False, short_path=arguments.short_path) as stage,
    ):
        found = _measured(stage, Path(directory), arguments)
        # Before the platform is stopped: what was measured is not lost where that takes long.
        _write(arguments, found)
    return int(bool(found["unmet"]))


def _write(arguments: argparse.Namespace, found: dict[str, Any]) -> None:
    document = {
        "machine": machine_facts(),
        "model": arguments.model,
        "short_path": arguments.short_path,
        **found,
    }
    text = json.dumps(document, indent=1)
    REPORTS.mkdir(parents=True, exist_ok=True)
    path = REPORTS / f"overload-{arguments.model}-{datetime.now(UTC):%Y-%m-%d}.json"
    path.write_text(text + "\n", encoding="utf-8")
    print(text, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.overload")
    parser.add_argument("--times", type=float, default=3.0, help="the peak that is offered")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--peak-seconds", type=int, default=10, help="of each closed loop")
    # More than is let in and waits, or nobody would be left to ask.
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument(
        "--model", choices=list(MODELS), default="quick", help="slow: neighbours among 50,000 rows"
    )
    parser.add_argument(
        "--short-path", choices=["true", "false"], default="false", help="answer in the ingress"
    )
    return parser.parse_args()


def _measured(stage: Stage, scratch: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    make_model, row = MODELS[arguments.model]
    with ApiUser.register(stage.platform.url) as user:
        user.upload(MODEL, make_model()).raise_for_status()
        first = user.predict(MODEL, [row]).raise_for_status()
        value = float(first.json()["predictions"][0])
        target = Target(
            name=MODEL,
            url=f"{stage.platform.url}/api/v1/models/{MODEL}/predict",
            body={"instances": [row]},
            headers={"X-API-Key": user.key},
        )

        def ask(connections: int, seconds: int, pause_s: float = 0.0) -> Flood:
            return flood(
                target,
                value,
                connections=connections,
                seconds=seconds,
                scratch=scratch,
                pause_s=pause_s,
            )

        peaks = [ask(count, arguments.peak_seconds) for count in PEAK_CONNECTIONS]
        peak = max(peaks, key=lambda one: one.goodput_per_s)
        # The loops may have been answered by more replicas than there were before.
        stage.await_whole()
        usual_s = [_probe_s(user, row) for _ in range(100)]
        normal_s = float(np.percentile([one for one in usual_s if one is not None], 99))
        wanted = arguments.times * peak.goodput_per_s
        pause_s = _pause_s(lambda pause_s: ask(arguments.connections, TRIAL_S, pause_s), wanted)
        stage.await_whole()
        before = _memory(stage)
        over = ask(arguments.connections, arguments.seconds, pause_s)
        recovered_s = _recovery_s(user, row, 3 * normal_s)
        after = _memory(stage)
    found = {
        "peak": {"goodput_per_s": peak.goodput_per_s, "connections": peak.connections},
        "peaks_per_s": {one.connections: round(one.goodput_per_s, 1) for one in peaks},
        "wanted_per_s": wanted,
        "offered_per_s": over.offered_per_s,
        "offered_times_peak": over.offered_per_s / peak.goodput_per_s,
        "connections": over.connections,
        "seconds": over.seconds,
        "counts": dict(over.counts),
        "without_retry_after": over.samples,
        "goodput_per_s": over.goodput_per_s,
        "goodput_kept": over.goodput_per_s / peak.goodput_per_s,
        "generator_cores": {"peak": round(peak.cores, 2), "overload": round(over.cores, 2)},
        # Of the same cores: whoever makes the load elsewhere leaves them to the platform.
        "goodput_kept_of_the_cores_left": _per_core_left(over) / _per_core_left(peak),
        "normal_p99_ms": 1000 * normal_s,
        "recovered_after_s": recovered_s,
        "before": before,
        "after": after,
        "memory_growth": _growth(before, after),
    }
    return found | {"unmet": _unmet(found, arguments.times)}


def _pause_s(ask: Callable[[float], Flood], wanted_per_s: float) -> float:
    """How long connections must wait, on average, to ask so often together: by trial."""
    pause_s = 0.1
    for _ in range(TRIALS):
        trial = ask(pause_s)
        over = trial.offered_per_s / wanted_per_s
        if 1 <= over <= MOST_OVER:
            break
        # Aimed at the middle; whoever waits for an answer does not pause.
        pause_s = max(pause_s * over * 2 / (1 + MOST_OVER), 0.001)
    return pause_s


def _probe_s(user: ApiUser, row: list[float]) -> float | None:
    """Seconds of one right prediction; None for any other answer."""
    began_s = time.perf_counter()
    answer = user.predict(MODEL, [row])
    return time.perf_counter() - began_s if answer.status_code == 200 else None


def _recovery_s(user: ApiUser, row: list[float], bound_s: float) -> float | None:
    """Seconds until the first of so many right answers in a row, each within ``bound_s``."""
    began_s = time.monotonic()
    good, first_s = 0, 0.0
    while time.monotonic() < began_s + PROBING_S:
        asked_s = time.monotonic() - began_s
        took_s = _probe_s(user, row)
        first_s = asked_s if good == 0 else first_s
        good = good + 1 if took_s is not None and took_s <= bound_s else 0
        if good == PROBES:
            return round(first_s, 2)
        time.sleep(PROBE_PAUSE_S)
    return None


def _memory(stage: Stage) -> dict[str, Any]:
    """Shared pages counted once; replicas beside it, since more of them need more."""
    by_role = pss_bytes(stage.platform.processes())
    replicas = ServeControl(stage.platform).replicas()
    return {
        "pss_mb": {role: round(size / 1e6, 1) for role, size in sorted(by_role.items())},
        "pss_mb_all": round(sum(by_role.values()) / 1e6, 1),
        "replicas": {name: len(all_) for name, all_ in replicas.items()},
    }


def _per_core_left(measured: Flood) -> float:
    return measured.goodput_per_s / ((os.cpu_count() or 1) - measured.cores)


def _growth(before: dict[str, Any], after: dict[str, Any]) -> float:
    """Of what the platform takes; what more replicas take is not growth of any of them."""
    grown_mb = 0.0
    for role, then_mb in before["pss_mb"].items():
        counts = [each["replicas"].get(role.capitalize(), 1) for each in (before, after)]
        grown_mb += after["pss_mb"].get(role, 0.0) * counts[0] / counts[1] - then_mb
    return grown_mb / float(before["pss_mb_all"])


def _unmet(found: dict[str, Any], times: float) -> list[str]:
    """Goals that were missed, each in a few words."""
    allowed = {"status 200", "status 503"}
    other = {what: n for what, n in found["counts"].items() if what not in allowed}
    checks = {
        f"other answers: {other}": not other,
        f"less offered than {times:g} times the peak": (
            found["offered_times_peak"] >= OFFERED_SHARE * times
        ),
        "less goodput kept than 80 %": found["goodput_kept"] >= GOODPUT_KEPT,
        "memory grew by 10 % or more": found["memory_growth"] < MEMORY_GROWTH,
        "not recovered after 5 s": (
            found["recovered_after_s"] is not None and found["recovered_after_s"] <= RECOVERED_S
        ),
    }
    return [what for what, is_met in checks.items() if not is_met]


if __name__ == "__main__":
    sys.exit(main())

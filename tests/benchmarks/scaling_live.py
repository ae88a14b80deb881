"""
Steps the load of a real platform by ten and makes replicas sick; writes what followed, and when.

    python -m tests.benchmarks.scaling_live [--only step sick frozen]

Loopback only; a platform of its own for each stage, none longer than four minutes.  Keeps the
stages that were not run from ``docs/benchmarks/scaling-live.json``; the step's stage photographs
Ray's dashboard where Chromium is installed.
"""

import argparse
import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from sklearn.neighbors import KNeighborsClassifier

from tests.benchmarks import dashboard_picture
from tests.benchmarks.closed_loop import Target
from tests.benchmarks.open_loop import Open
from tests.benchmarks.open_loop import run as run_open
from tests.benchmarks.replica_watch import DEPLOYMENT, Sample, Watch, watching
from tests.benchmarks.run import machine_facts
from tests.system.client import ApiUser, as_bytes
from tests.system.platform import REPOSITORY, Platform, wait_until

OUT = REPOSITORY / "docs" / "benchmarks" / "scaling-live.json"
PICTURE = REPOSITORY / "docs" / "scaling-dashboard.png"
MODELS = 4
#: Requests a second over all models; one takes about 40 ms of a core.
RATE_PER_S, STEP = 2.0, 10
CALM_S, HIGH_S, PICTURE_AFTER_S = 12.0, 40.0, 32.0
#: A minute of holding, the window of the reports, and room.
RETURN_S = 85.0
#: A replica made slow: it stands still for longer than a health check waits, runs a moment.
STILL_S, MOVING_S = 6.0, 1.0
SICK_S = 40.0
#: Several times what the calm load takes: the replica's share of a core has moved.
MOVED_CORES = 0.4


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A running platform, watched, with models that are warm."""

    platform: Platform
    watch: Watch
    targets: list[Target]
    pool: ThreadPoolExecutor

    def send(self, *, rate_per_s: float, seconds: float) -> "Future[list[Open]]":
        """Load all models evenly from now on."""
        each = [
            self.pool.submit(run_open, target, rate_per_s=rate_per_s / MODELS, seconds=seconds)
            for target in self.targets
        ]
        return self.pool.submit(lambda: [run.result() for run in each])

    def wait(self, condition: Callable[[Sample], bool], timeout_s: float) -> float | None:
        """When a look first found the condition, by the monotonic clock; ``None``: it did not."""
        began_s = time.monotonic()
        while time.monotonic() < began_s + timeout_s:
            for sample in tuple(self.watch.samples):
                if sample.at_s > began_s and condition(sample):
                    return sample.at_s
            time.sleep(0.1)
        return None


@contextmanager
def loaded(*, low: int) -> Iterator[Loaded]:
    """A platform as shipped, but with so many Predictors at least and without the short path."""
    with tempfile.TemporaryDirectory(prefix="scaling-") as name, ThreadPoolExecutor(16) as pool:
        directory = Path(name)
        _write_config(directory, low)
        platform = Platform.create(
            directory,
            SHORT_PATH_ENABLED="false",
            RESULT_CACHE_BYTES="0",
            PYTHONPATH=str(REPOSITORY),
        )
        platform.directory = directory
        try:
            platform.start()
            targets = _upload(platform)
            with watching(platform) as watch:
                wait_until(lambda: bool(watch.samples), what="a first look")
                yield Loaded(platform=platform, watch=watch, targets=targets, pool=pool)
        finally:
            if platform.process is not None and platform.process.poll() is None:
                platform.stop()


def _write_config(directory: Path, low: int) -> None:
    config = yaml.safe_load((REPOSITORY / "serve_config.yaml").read_text(encoding="utf-8"))
    for deployment in config["applications"][0]["deployments"]:
        if deployment["name"] == DEPLOYMENT:
            deployment["autoscaling_config"]["min_replicas"] = low
    (directory / "serve_config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def _upload(platform: Platform) -> list[Target]:
    """Neighbours among 50,000 points, asked for 32 rows at a time: slow, and never compiled."""
    dice = np.random.default_rng(0)
    points = dice.normal(size=(50_000, 16))
    model = KNeighborsClassifier(5, algorithm="brute", metric="manhattan")
    content = as_bytes(model.fit(points, points[:, 0] > 0), "joblib")
    rows = points[:32].round(3).tolist()
    targets = []
    with ApiUser.register(platform.url) as user:
        for number in range(MODELS):
            user.upload(f"near{number}", content).raise_for_status()
            for _ in range(3):
                user.predict(f"near{number}", rows).raise_for_status()
            targets.append(
                Target(
                    name=f"near{number}",
                    url=f"{platform.url}/api/v1/models/near{number}/predict",
                    body={"instances": rows},
                    headers={"X-API-Key": user.key},
                )
            )
    return targets


def step() -> dict[str, Any]:
    """Ten times the load, then the load of before."""
    with loaded(low=1) as at:
        calm = at.send(rate_per_s=RATE_PER_S, seconds=CALM_S).result()
        before = at.watch.samples[-1]
        began_s = time.monotonic()
        high = at.send(rate_per_s=STEP * RATE_PER_S, seconds=HIGH_S)
        moved_s = _since(at, began_s, lambda s: s.cores > MOVED_CORES)
        target_s = _since(at, began_s, lambda s: s.target > before.target)
        runs_s = _since(at, began_s, lambda s: len(s.running) > len(before.running))
        time.sleep(max(began_s + PICTURE_AFTER_S - time.monotonic(), 0))
        dashboard_picture.take(at.platform, "/#/serve/applications/slipway", PICTURE)
        stepped = high.result()
        most = max(len(s.running) for s in at.watch.samples)
        ended_s = time.monotonic()
        after = at.send(rate_per_s=RATE_PER_S, seconds=RETURN_S)
        floor_s = at.wait(lambda s: s.target == 1, RETURN_S)
        back_s = at.wait(lambda s: len(s.running) == 1 and not s.others, RETURN_S)
        last = after.result()
        return {
            "rate_per_s": [RATE_PER_S, STEP * RATE_PER_S],
            "most_replicas": most,
            "seconds_after_the_step": {
                "metric_moved": _rounded(moved_s, began_s),
                "target_moved": _rounded(target_s, began_s),
                "new_replica_runs": _rounded(runs_s, began_s),
            },
            "seconds_after_the_load_fell": {
                "target_at_floor": _rounded(floor_s, ended_s),
                "replicas_at_floor": _rounded(back_s, ended_s),
            },
            **_told(at, began_s, calm=calm, step=stepped, after=last),
        }


def _since(at: Loaded, began_s: float, condition: Callable[[Sample], bool]) -> float | None:
    found = (s.at_s for s in tuple(at.watch.samples) if s.at_s > began_s and condition(s))
    return next(found, None) or at.wait(condition, 20)


def sick() -> dict[str, Any]:
    """One of two Predictors stands still for seconds, again and again."""
    return _harmed(_slow_down)


def frozen() -> dict[str, Any]:
    """One of two Predictors stands still for good."""
    return _harmed(lambda pid, _: os.kill(pid, signal.SIGSTOP))


def _slow_down(pid: int, ends: threading.Event) -> None:
    with suppress(ProcessLookupError):
        while not ends.is_set():
            os.kill(pid, signal.SIGSTOP)
            ends.wait(STILL_S)
            os.kill(pid, signal.SIGCONT)
            ends.wait(MOVING_S)


def _harmed(harm: Callable[[int, threading.Event], None]) -> dict[str, Any]:
    with loaded(low=2) as at:
        load = at.send(rate_per_s=RATE_PER_S, seconds=CALM_S + SICK_S)
        time.sleep(CALM_S)
        victim = max(at.watch.samples[-1].running, key=at.watch.cpu_s)
        began_s, ends = time.monotonic(), threading.Event()
        harming = at.pool.submit(harm, victim, ends)
        try:
            target_s = at.wait(lambda s: s.target > 2, SICK_S / 2)
            gone_s = _since(at, began_s, lambda s: victim not in s.running)
            whole_s = _since(at, began_s, lambda s: victim not in s.running and len(s.running) >= 2)
            predictions = load.result()
        finally:
            ends.set()
            harming.result()
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGCONT)
        three = (s for s in at.watch.samples if s.at_s > began_s)
        other = next((s.at_s for s in three if len(set(s.running) - {victim}) >= 2), None)
        return {
            "rate_per_s": RATE_PER_S,
            "seconds_after_the_harm": {
                "target_moved": _rounded(target_s, began_s),
                "two_others_run": _rounded(other, began_s),
                "taken_out": _rounded(gone_s, began_s),
                "whole_without_it": _rounded(whole_s, began_s),
            },
            **_told(at, began_s, all=predictions),
        }


def _rounded(at_s: float | None, began_s: float) -> float | None:
    return None if at_s is None else round(at_s - began_s, 1)


def _told(at: Loaded, began_s: float, **runs: list[Open]) -> dict[str, Any]:
    samples = at.watch.samples
    return {
        "predictions": {
            name: {
                "requests": sum(run.requests for run in opened),
                "failed": sum(run.failures for run in opened),
                "p50_ms": round(float(np.median([run.p50_ms for run in opened])), 1),
                "most_ms": round(max(run.most_ms for run in opened), 1),
            }
            for name, opened in runs.items()
        },
        "changes": [
            {"at_s": _rounded(s.at_s, began_s), **asdict(change)}
            for s in samples
            for change in s.changes
        ],
        "samples": [
            [_rounded(s.at_s, began_s), s.target, len(s.running), round(s.cores, 2), s.exported]
            for s in samples
        ],
    }


STAGES: dict[str, Callable[[], dict[str, Any]]] = {"step": step, "sick": sick, "frozen": frozen}


def main() -> None:
    """Run the stages, write and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=STAGES, default=list(STAGES))
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    kept = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    for name in options.only:
        found = kept[name] = {"machine": machine_facts(), **STAGES[name]()}
        options.out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        print(name, json.dumps({k: v for k, v in found.items() if k != "samples"}, indent=1))


if __name__ == "__main__":
    main()

"""
Models that nobody has asked yet, large uploads, and a thousand models behind one memory budget.

``python -m tests.benchmarks.many_models``; the platform's short path is off, so that every answer
comes from a Predictor's cache.
"""

import argparse
import json
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.ensemble import RandomForestRegressor

from tests.benchmarks import processes
from tests.benchmarks.open_loop import run as run_open
from tests.benchmarks.ours import Bench, started
from tests.benchmarks.run import machine_facts
from tests.system.client import ApiUser, as_bytes

ROWS, TARGET = load_diabetes(return_X_y=True)
COLD_MODELS = 20
LARGE_MODELS = 5
UPLOADERS = 3
HOT_RATE_PER_S = 50.0


def forest(size_bytes: int, seed: int) -> RandomForestRegressor:
    """A forest whose file has about that many bytes; each seed gives another."""
    one = RandomForestRegressor(1, random_state=0).fit(ROWS, TARGET)
    trees = max(1, round(size_bytes / len(as_bytes(one, "joblib"))))
    return RandomForestRegressor(trees, random_state=seed).fit(ROWS, TARGET)


def milliseconds(act: Callable[[], Any]) -> float:
    """How long ``act`` took."""
    began_s = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - began_s)


def spread(values_ms: list[float]) -> dict[str, float]:
    """Median, p95 and most, in milliseconds."""
    p50, p95, most = np.percentile(values_ms, [50, 95, 100])
    return {"p50_ms": float(p50), "p95_ms": float(p95), "most_ms": float(most)}


def cold(user: ApiUser) -> dict[str, Any]:
    """First and second predictions of models of 1 MB, each uploaded just before."""
    first, second, sizes = [], [], []
    for number in range(COLD_MODELS):
        model, name = forest(1_000_000, number), f"cold-{number}"
        content = as_bytes(model, "joblib")
        sizes.append(len(content))
        user.upload(name, content).raise_for_status()
        ask = checked(user, name, model)
        first.append(milliseconds(ask))
        second.append(milliseconds(ask))
    return {
        "size_bytes": float(np.median(sizes)),
        "first": spread(first),
        "second": spread(second),
    }


def checked(user: ApiUser, name: str, model: RandomForestRegressor) -> Callable[[], None]:
    """Asks for one prediction; raises if it is not scikit-learn's."""
    row, wanted = ROWS[:1].tolist(), model.predict(ROWS[:1])

    def ask() -> None:
        answer = user.predict(name, row).raise_for_status().json()["predictions"]
        np.testing.assert_allclose(answer, wanted, rtol=1e-12)

    return ask


def large_uploads(user: ApiUser) -> dict[str, Any]:
    """Uploads of forests of 10 MB, from the first byte to the answer that says ready."""
    contents = [as_bytes(forest(10_000_000, seed), "joblib") for seed in range(LARGE_MODELS)]
    times = []
    for number, content in enumerate(contents):
        answer = partial(user.upload, f"large-{number}", content)
        times.append(milliseconds(lambda: answer().raise_for_status()))  # noqa: B023 - called now
    return {"size_bytes": float(np.median([len(c) for c in contents])), "upload": spread(times)}


def many(bench: Bench, user: ApiUser, count: int, say: Callable[[str], None]) -> dict[str, Any]:
    """``count`` models of 100 kB, all asked in turn while one of them is hot."""
    models = {f"many-{seed}": forest(100_000, seed) for seed in range(count)}
    with ThreadPoolExecutor(UPLOADERS) as pool:
        contents = (as_bytes(model, "joblib") for model in models.values())
        answers = pool.map(user.upload, models, contents)
        began_s = time.perf_counter()
        for answer in answers:
            answer.raise_for_status()
    say(f"{count} uploads in {time.perf_counter() - began_s:.0f} s")
    memory = [predictor_bytes(bench)]
    hot = bench.targets["forest"]
    alone = run_open(hot, rate_per_s=HOT_RATE_PER_S, seconds=20)
    order = list(models)
    random.Random(1).shuffle(order)
    first: list[float] = []
    ended = threading.Event()

    def ask_all() -> None:
        first.extend(milliseconds(checked(user, name, models[name])) for name in order)
        ended.set()

    asking = threading.Thread(target=ask_all)
    asking.start()
    beside = [run_open(hot, rate_per_s=HOT_RATE_PER_S, seconds=20) for _ in _until(ended)]
    asking.join()
    memory.append(predictor_bytes(bench))
    if len(first) != count:
        raise RuntimeError(f"{len(first)} of {count} models answered")
    return {
        "models": count,
        "answered": len(first),
        "first": spread(first),
        "hot_alone": asdict(alone),
        "hot_beside": [asdict(run) for run in beside],
        "predictors_pss_bytes": memory,
    }


def _until(ended: threading.Event) -> Iterator[None]:
    while not ended.is_set():
        yield


def predictor_bytes(bench: Bench) -> int:
    """Memory of the Predictors."""
    return processes.pss_bytes(bench.platform.processes()).get("predictor", 0)


def main() -> None:
    """Run, write and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1000, help="of 100 kB")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/many-models.json"))
    options = parser.parse_args()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    with started(is_short_path=False) as bench, ApiUser.register(bench.platform.url) as user:
        say("cold models")
        document = {"machine": machine_facts(), "cold": cold(user)}
        say("large uploads")
        document["large"] = large_uploads(user)
        say("many models")
        # Another's, who owns nothing yet: a thousand models are what one user may have.
        with ApiUser.register(bench.platform.url) as another:
            document["many"] = many(bench, another, options.models, say)
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()

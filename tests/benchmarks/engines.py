"""
Prints what each engine takes for one row and for a thousand, as JSON: microseconds a call.

Run as ``python -m tests.benchmarks.engines``; the least of several rounds counts.
"""

import sys
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from cluster.contracts import Batch, Method
from deployments.engines.compile import compile_model
from deployments.engines.native import NativeEngine
from deployments.signatures.derive import derive_signature

Loaded = tuple[Any, Any]
CASES: dict[str, tuple[Callable[[], Any], Callable[..., Any]]] = {
    "iris pipeline": (
        lambda: make_pipeline(StandardScaler(), LogisticRegression()),
        load_iris,
    ),
    "breast cancer, one tree": (
        lambda: DecisionTreeClassifier(random_state=0),
        load_breast_cancer,
    ),
    "breast cancer, 100-tree forest": (
        lambda: RandomForestClassifier(100, random_state=0),
        load_breast_cancer,
    ),
    "breast cancer, boosting": (
        lambda: GradientBoostingClassifier(random_state=0),
        load_breast_cancer,
    ),
    "breast cancer, histograms": (
        lambda: HistGradientBoostingClassifier(random_state=0),
        load_breast_cancer,
    ),
    "diabetes, 100-tree forest": (
        lambda: RandomForestRegressor(100, random_state=0),
        load_diabetes,
    ),
}


def microseconds(work: Callable[[], object]) -> float:
    """Time of one call in µs."""
    timer = timeit.Timer(work)
    calls, _ = timer.autorange()
    calls = max(1, calls // 4)
    return round(min(timer.repeat(5, calls)) / calls * 1e6, 1)


def measure(make: Callable[[], Any], load: Callable[..., Any]) -> dict[str, dict[str, float]]:
    """µs by method and engine, for one row and a thousand."""
    rows, target = load(return_X_y=True)
    model = make().fit(rows, target)
    signature = derive_signature(model)
    many = np.ascontiguousarray(np.resize(rows, (1000, rows.shape[1])))
    batches = {"1 row": Batch(rows=1, matrix=many[:1]), "1000 rows": Batch(rows=1000, matrix=many)}
    compiled = compile_model(model, rows.shape[1])
    engines = {compiled.name: compiled, "native": NativeEngine(model, signature)}
    methods: list[Method] = [m for m in signature.methods if m in compiled.methods]
    return {
        f"{method}, {size}": {
            name: microseconds(lambda e=engine, m=method, b=batch: e.run(m, b))  # type: ignore[misc]
            for name, engine in engines.items()
        }
        for method in methods
        for size, batch in batches.items()
    }


def main() -> None:
    """Measure each case and print one JSON document."""
    measured = {name: measure(make, load) for name, (make, load) in CASES.items()}
    sys.stdout.buffer.write(orjson.dumps(measured, option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    main()

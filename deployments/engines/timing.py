"""How long an engine takes for a batch, measured so that a busy machine does not decide."""

import time
from collections.abc import Callable

from cluster.contracts import Batch, Method
from cluster.errors import PredictionFailed
from deployments.engines.base import Engine

_RUNS = 15
#: A slow engine is timed once or twice, not fifteen times.
_ENOUGH_S = 0.02

Clock = Callable[[], float]


def seconds_per_call(
    engine: Engine, method: Method, batch: Batch, clock: Clock = time.perf_counter
) -> float | None:
    """Least seconds of several calls; ``None`` where the engine refuses the batch."""
    best, spent = float("inf"), 0.0
    for _ in range(_RUNS):
        started = clock()
        try:
            engine.run(method, batch)
        except PredictionFailed:
            return None
        taken = clock() - started
        best, spent = min(best, taken), spent + taken
        if spent > _ENOUGH_S:
            break
    return best

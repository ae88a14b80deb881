"""
Every metric of ours, defined once; Ray exports them to its dashboard and to Prometheus.

Outside a Serve replica (command line, tests) they count nothing.  Labels have few values by
construction: a model's id and version, never a caller.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from cluster.metric_batches import Batches, Steps

#: Seconds; sub-millisecond models need the lower end, deadlines the upper.
LATENCY_BOUNDS_S = (
    0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0,
)  # fmt: skip
ROWS_BOUNDS = (1, 2, 5, 10, 20, 50, 100, 1000, 10_000, 100_000)


class _Instrument(Protocol):
    def record(self, value: float, tags: Mapping[str, str]) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Name, kind, unit and labels of one metric; the instrument is made at its first use."""

    name: str
    kind: str
    description: str
    labels: tuple[str, ...] = ()
    bounds: Sequence[float] = ()
    #: Whether it is of the Serve controller, which is no replica.
    is_controllers: bool = False

    def record(self, value: float = 1, **labels: str) -> None:
        """Add ``value`` to a counter, set a gauge to it, or observe it in a histogram."""
        if (instrument := self._instrument) is not None:
            instrument.record(value, labels)

    @cached_property
    def _instrument(self) -> _Instrument | None:
        # Ray costs a second to import, which the command line need not pay.
        if "ray.serve" not in sys.modules:
            return None
        from ray import is_initialized, serve

        if self.is_controllers:
            return _RayInstrument(self) if is_initialized() else None
        try:
            serve.get_replica_context()
        except Exception:  # noqa: BLE001 - Serve raises its own class where there is no replica
            return None
        return _RayInstrument(self)


class _RayInstrument:
    def __init__(self, metric: Metric) -> None:
        # Serve's add a replica's labels and exist in a replica alone.
        if metric.is_controllers:
            from ray.util import metrics as serve_metrics
        else:
            from ray.serve import metrics as serve_metrics

        if metric.kind == "histogram":
            histogram = serve_metrics.Histogram(
                metric.name,
                description=metric.description,
                boundaries=list(metric.bounds),
                tag_keys=metric.labels,
            )
            self._write = Batches(metric.labels, histogram.observe).add
        elif metric.kind == "gauge":
            gauge = serve_metrics.Gauge(
                metric.name, description=metric.description, tag_keys=metric.labels
            )
            self._write = gauge.set
        else:
            counter = serve_metrics.Counter(
                metric.name, description=metric.description, tag_keys=metric.labels
            )
            self._write = Steps(metric.labels, counter.inc).add

    def record(self, value: float, tags: Mapping[str, str]) -> None:
        self._write(value, tags=dict(tags))


PREDICTIONS = Metric(
    name="slipway_predictions_total",
    kind="counter",
    description="Predictions answered, by model, version and outcome code.",
    labels=("model", "version", "code"),
)
PREDICTION_SECONDS = Metric(
    name="slipway_prediction_seconds",
    kind="histogram",
    description="Seconds from the request's first byte to the answer.",
    labels=("model", "version"),
    bounds=LATENCY_BOUNDS_S,
)
BATCH_ROWS = Metric(
    name="slipway_batch_rows",
    kind="histogram",
    description="Rows that travelled in one RPC.",
    labels=("model",),
    bounds=ROWS_BOUNDS,
)
MODEL_LOADS = Metric(
    name="slipway_model_loads_total",
    kind="counter",
    description="Models loaded into a Predictor's cache.",
    labels=("outcome",),
)
MODEL_EVICTIONS = Metric(
    name="slipway_model_evictions_total",
    kind="counter",
    description="Models evicted from a Predictor's cache.",
)
VETTINGS = Metric(
    name="slipway_vettings_total",
    kind="counter",
    description="Uploads vetted, by verdict and reason.",
    labels=("verdict", "reason"),
)
FAIL_OPEN = Metric(
    name="slipway_fail_open_total",
    kind="counter",
    description="Decisions taken without a dependency that was away.",
    labels=("what",),
)
LIMITS_HIT = Metric(
    name="slipway_limits_hit_total",
    kind="counter",
    description="Requests refused by a limit or quota.",
    labels=("route_class",),
)
CACHE_LOOKUPS = Metric(
    name="slipway_cache_lookups_total",
    kind="counter",
    description="Look-ups in our caches, by cache and outcome.",
    labels=("cache", "outcome"),
)
SCALING_CHANGES = Metric(
    name="slipway_scaling_changes_total",
    kind="counter",
    description="Changes of a deployment's target by the autoscaling policy, by cause.",
    labels=("scaled", "cause"),
    is_controllers=True,
)
SCALING_TARGET = Metric(
    name="slipway_scaling_target",
    kind="gauge",
    description="Replicas that the autoscaling policy last asked for.",
    labels=("scaled",),
    is_controllers=True,
)
BACKUP_AGE_SECONDS = Metric(
    name="slipway_backup_age_seconds",
    kind="gauge",
    description="Seconds since the last good backup was begun.",
)
QUARANTINES = Metric(
    name="slipway_quarantines_total",
    kind="counter",
    description="Versions held back after they crashed replicas, by how that was found out.",
    labels=("reason",),
)
ALL = (
    BACKUP_AGE_SECONDS,
    PREDICTIONS,
    PREDICTION_SECONDS,
    BATCH_ROWS,
    MODEL_LOADS,
    MODEL_EVICTIONS,
    VETTINGS,
    FAIL_OPEN,
    LIMITS_HIT,
    CACHE_LOOKUPS,
    SCALING_CHANGES,
    SCALING_TARGET,
    QUARANTINES,
)

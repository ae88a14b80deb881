"""
How many replicas a deployment should have; runs in the Serve controller, standard library only.

Utilisation is steered to a target, a rising trend is looked ahead, a queue or a sick replica adds
one, and the count comes down only to the most that was wanted in the last minute.  Every decision
carries its reason in the state.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

logger = logging.getLogger(__name__)

#: Share of a replica's lanes that should be busy: the rest absorbs bursts and a lost replica.
TARGET_UTILISATION = 0.6
#: New replicas take calls about this long after they are asked for.
LOOK_AHEAD_S = 8.0
#: Weight of the newest slope; the rest is memory, so that one spike is no trend.
SLOPE_WEIGHT = 0.4
#: Calls that wait longer than this ask for another replica whatever the utilisation says.
QUEUE_AGE_S = 0.25
#: From this on half as many again.
LONG_QUEUE_AGE_S = 1.0
#: The count may come down to the most that was wanted within this time.
COOL_DOWN_S = 60.0
#: A replica that fails this share of its calls is not counted as capacity.
SICK_ERROR_SHARE = 0.5

Metrics = Mapping[str, Mapping[Any, float]]


class Context(Protocol):
    """The part of Ray Serve's AutoscalingContext that the policy reads."""

    current_num_replicas: int
    target_num_replicas: int
    capacity_adjusted_min_replicas: int
    capacity_adjusted_max_replicas: int
    current_time: float | None
    policy_state: dict[str, Any]

    @property
    def aggregated_metrics(self) -> Metrics | None:
        """Metric name -> replica -> value."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Load:
    #: Busy replicas' worth of work: the sum of utilisations.
    total: float
    slope_per_s: float
    queue_age_s: float
    sick: int


def policy(ctx: Context) -> tuple[int, dict[str, Any]]:
    """
    Replicas wanted, and the state for the next call (with ``reason``, a sentence).

    Without a single report nothing is known, and the present target stays.
    """
    state = dict(ctx.policy_state or {})
    metrics = ctx.aggregated_metrics or {}
    now_s = float(ctx.current_time or 0.0)
    if not metrics.get("utilisation"):
        return _bounded(ctx, ctx.target_num_replicas), state | {"reason": "no replica has reported"}
    load = _measure(metrics, state, now_s)
    wanted, reason = _wanted(load, ctx.current_num_replicas)
    wanted = _bounded(ctx, wanted)
    history = [
        (at, count) for at, count in state.get("wanted", ()) if 0 <= now_s - at <= COOL_DOWN_S
    ]
    history.append((now_s, wanted))
    decided = max(count for _, count in history)
    if decided > wanted:
        reason += f"; held at the {decided} wanted within {COOL_DOWN_S:.0f} s"
    if decided != ctx.target_num_replicas:
        logger.info("replicas %d -> %d: %s", ctx.target_num_replicas, decided, reason)
    return decided, {
        "at_s": now_s,
        "total": load.total,
        "slope_per_s": load.slope_per_s,
        "wanted": _newest(history),
        "reason": reason,
    }


def _measure(metrics: Metrics, state: Mapping[str, Any], now_s: float) -> _Load:
    utilisation = metrics["utilisation"]
    total = sum(utilisation.values())
    elapsed_s = now_s - state.get("at_s", now_s)
    slope = state.get("slope_per_s", 0.0)
    if elapsed_s > 0:
        newest = (total - state["total"]) / elapsed_s
        slope += SLOPE_WEIGHT * (newest - slope)
    errors, degraded = metrics.get("error_share", {}), metrics.get("degraded", {})
    sick = sum(
        errors.get(replica, 0.0) >= SICK_ERROR_SHARE or degraded.get(replica, 0.0) > 0
        for replica in utilisation
    )
    return _Load(
        total=total,
        slope_per_s=slope,
        queue_age_s=max(metrics.get("queue_age_s", {}).values(), default=0.0),
        sick=sick,
    )


def _wanted(load: _Load, replicas: int) -> tuple[int, str]:
    ahead = load.total + max(load.slope_per_s, 0.0) * LOOK_AHEAD_S
    wanted = math.ceil(ahead / TARGET_UTILISATION - 1e-9)
    reason = f"{load.total:.2f} replicas busy, {ahead:.2f} in {LOOK_AHEAD_S:.0f} s"
    if load.queue_age_s >= QUEUE_AGE_S:
        step = math.ceil(replicas / 2) if load.queue_age_s >= LONG_QUEUE_AGE_S else 1
        if replicas + step > wanted:
            wanted = replicas + step
            reason += f"; calls wait {load.queue_age_s:.2f} s"
    if load.sick:
        wanted += load.sick
        reason += f"; {load.sick} sick"
    return wanted, reason


def _bounded(ctx: Context, wanted: int) -> int:
    low, high = ctx.capacity_adjusted_min_replicas, ctx.capacity_adjusted_max_replicas
    return max(low, min(wanted, high))


def _newest(history: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """Drops what a later, greater or equal want has made irrelevant; the state stays small."""
    kept: list[tuple[float, int]] = []
    for at, count in history:
        while kept and kept[-1][1] <= count:
            kept.pop()
        kept.append((at, count))
    return kept

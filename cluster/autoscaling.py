"""
Ray Serve's door to ``cluster.scaling``: runs in the Serve controller, which must stay lean.

Standard library only, our own standard-library modules included; each change of the target is
logged with its reason and counted by its cause.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

# As a module, which is pickled by its name.  Serve pickles a policy by value, the globals that it
# uses included, with each replica that it starts and with its checkpoint: a metric that is in use
# holds a lock, and from the policy's first change on no replica could be started any more.
from cluster import metrics
from cluster.scaling import Memory, Observation, decide, reports_from

#: A child of Serve's logger, the only one that has a handler in the controller.
logger = logging.getLogger("ray.serve.slipway")
#: Our entry in the state; Serve keeps its own beside it.
MEMORY = "slipway"


class TimedValue(Protocol):
    """One value of a replica's, by the clock of its node."""

    @property
    def timestamp(self) -> float:
        """Seconds since the epoch."""
        ...


class Context(Protocol):
    """The part of Ray Serve's AutoscalingContext that the policy reads."""

    deployment_name: str
    current_num_replicas: int
    target_num_replicas: int
    capacity_adjusted_min_replicas: int
    capacity_adjusted_max_replicas: int
    current_time: float | None
    policy_state: dict[str, Any]

    @property
    def aggregated_metrics(self) -> Mapping[str, Mapping[Any, float]] | None:
        """Metric name -> replica -> value."""
        ...

    @property
    def raw_metrics(self) -> Mapping[str, Mapping[Any, Sequence[TimedValue]]] | None:
        """Metric name -> replica -> the values behind it, oldest first."""
        ...


def policy(ctx: Context) -> tuple[int, dict[str, Any]]:
    """Replicas wanted, and the state for the next call (with ``reason``, a sentence)."""
    memory = (ctx.policy_state or {}).get(MEMORY)
    seen = Observation(
        now_s=float(ctx.current_time or 0.0),
        reports=reports_from(ctx.aggregated_metrics or {}, _reported_s(ctx)),
        running=ctx.current_num_replicas,
        target=ctx.target_num_replicas,
        low=ctx.capacity_adjusted_min_replicas,
        high=ctx.capacity_adjusted_max_replicas,
    )
    decision = decide(seen, memory if isinstance(memory, Memory) else Memory())
    if decision.replicas != ctx.target_num_replicas:
        logger.info(
            "%s: replicas %d -> %d (%s): %s",
            ctx.deployment_name,
            ctx.target_num_replicas,
            decision.replicas,
            decision.cause,
            decision.reason,
        )
        metrics.SCALING_CHANGES.record(1, scaled=ctx.deployment_name, cause=decision.cause)
    metrics.SCALING_TARGET.record(decision.replicas, scaled=ctx.deployment_name)
    return decision.replicas, {MEMORY: decision.memory, "reason": decision.reason}


def _reported_s(ctx: Context) -> dict[Any, float]:
    """Replica -> when it last reported; Serve keeps what one that stands still said before."""
    series = (ctx.raw_metrics or {}).get("utilisation", {})
    return {replica: values[-1].timestamp for replica, values in series.items() if values}

"""
A deployment that runs on paper: replicas with lanes, a queue, start-up time and sick ones.

The same trace is played to any policy.  Replicas report as Serve has them do: each second, the
mean of the last five; work is measured in seconds of one whole replica.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, Protocol

from ray.serve.autoscaling_policy import (
    _apply_delay_logic,
    _apply_scaling_factors,
    replica_queue_length_autoscaling_policy,
)
from ray.serve.config import AutoscalingConfig

from cluster.scaling import TARGET_UTILISATION, Decision, Memory, Observation, Report, decide

#: Seconds of work that arrive in a second, by the second.
Trace = Callable[[int], float]
LANES = 4
#: Process, imports, first model.
START_UP_S = 5
LOOK_BACK_S = 3
#: Calls that wait longer than this count as time under capacity.
LATE_S = 0.5


@dataclass(kw_only=True)
class Seen:
    """What a policy may know: the replicas' averaged reports, and Serve's own request count."""

    now_s: float
    reports: list[Report]
    ongoing_requests: float
    running: int
    target: int
    low: int
    high: int


class Policy(Protocol):
    """Replicas wanted from what is seen."""

    def __call__(self, seen: Seen) -> int:
        """Answer."""
        ...


@dataclass
class Ours:
    """``cluster.scaling`` with its memory; keeps every decision."""

    memory: Memory = field(default_factory=Memory)
    decisions: list[Decision] = field(default_factory=list)

    def __call__(self, seen: Seen) -> int:
        """Decide."""
        observation = Observation(
            now_s=seen.now_s,
            reports=seen.reports,
            running=seen.running,
            target=seen.target,
            low=seen.low,
            high=seen.high,
        )
        decision = decide(observation, self.memory)
        self.memory = decision.memory
        self.decisions.append(decision)
        return decision.replicas


class ServesDefault:
    """Ray Serve's default policy, by Ray's own functions, with the given configuration."""

    def __init__(self, **config: Any) -> None:
        self._config = AutoscalingConfig(**config)
        self._state: dict[str, Any] = {}

    def __call__(self, seen: Seen) -> int:
        """Decide."""
        ctx = SimpleNamespace(
            current_num_replicas=seen.running,
            target_num_replicas=seen.target,
            total_num_requests=seen.ongoing_requests,
            config=self._config,
        )
        desired, _ = replica_queue_length_autoscaling_policy(ctx)
        scaled = _apply_scaling_factors(desired, seen.running, self._config)
        decided, self._state = _apply_delay_logic(
            max(0, scaled), seen.target, self._config, self._state, _now=seen.now_s
        )
        return int(max(seen.low, min(decided, seen.high)))


@dataclass(kw_only=True)
class Played:
    """How a policy did on a trace."""

    replicas: list[int] = field(default_factory=list)
    queue_ages_s: list[float] = field(default_factory=list)
    #: What a policy that knows the future would run.
    ideal: list[int] = field(default_factory=list)

    @property
    def late_s(self) -> int:
        """Seconds under capacity."""
        return sum(age > LATE_S for age in self.queue_ages_s)

    @property
    def worst_queue_age_s(self) -> float:
        """The longest wait."""
        return max(self.queue_ages_s)

    @property
    def overshoot(self) -> float:
        """Replicas more than the ideal, on average."""
        pairs = zip(self.replicas, self.ideal, strict=True)
        return sum(max(have - need, 0) for have, need in pairs) / len(self.replicas)

    @property
    def changes(self) -> int:
        """How often the count went up after having gone down, or the other way round."""
        steps = [b - a for a, b in pairwise(self.replicas) if a != b]
        return sum((a > 0) != (b > 0) for a, b in pairwise(steps))


def play(
    policy: Policy,
    trace: Trace,
    *,
    seconds: int,
    low: int = 1,
    high: int = 16,
    start: int = 2,
    slowness: Mapping[int, float] | None = None,
    sick_from_s: int = 10**9,
) -> Played:
    """
    Let ``policy`` steer through ``trace``.

    Args:
        policy: Asked once a second.
        trace: Work that arrives.
        seconds: How long.
        low: Least replicas.
        high: Most replicas.
        start: Replicas at the beginning.
        slowness: Factor by which replica number n is slower, while it is sick.
        sick_from_s: When those replicas fall ill.
    """
    slowness = slowness or {}
    ready_at = [0.0] * start
    backlog, target = 0.0, start
    seen_busy: list[deque[float]] = [deque(maxlen=LOOK_BACK_S) for _ in ready_at]
    ages: deque[float] = deque(maxlen=LOOK_BACK_S)
    ongoing: deque[float] = deque(maxlen=LOOK_BACK_S)
    played = Played()
    for second in range(seconds):
        running = [n for n, at in enumerate(ready_at) if at <= second]
        is_sick = second >= sick_from_s
        speeds = [1.0 / slowness.get(n, 1.0) if is_sick else 1.0 for n in running]
        arriving = trace(second)
        work = backlog + arriving
        done = min(work, sum(speeds))
        backlog = work - done
        busy = min(done / sum(speeds), 1.0)
        age_s = backlog / sum(speeds)
        for n in running:
            seen_busy[n].append(busy)
        ages.append(age_s)
        ongoing.append((busy * len(running) + backlog) * LANES)
        target = policy(
            Seen(
                now_s=float(second),
                reports=[
                    Report(
                        busy=sum(seen_busy[n]) / len(seen_busy[n]),
                        queue_age_s=sum(ages) / len(ages),
                        is_sick=is_sick and n in slowness,
                    )
                    for n in running
                ],
                ongoing_requests=sum(ongoing) / len(ongoing),
                running=len(running),
                target=target,
                low=low,
                high=high,
            )
        )
        while len(ready_at) < target:
            ready_at.append(second + START_UP_S)
            seen_busy.append(deque(maxlen=LOOK_BACK_S))
        del ready_at[target:], seen_busy[target:]
        played.replicas.append(len(ready_at))
        played.queue_ages_s.append(age_s)
        played.ideal.append(max(low, min(high, math.ceil(arriving / TARGET_UTILISATION - 1e-9))))
    return played


def step(second: int) -> float:
    """From 0.6 replicas' worth of work to 6, and back after five minutes."""
    return 6.0 if 60 <= second < 360 else 0.6


def ramp(second: int) -> float:
    """Up to 6 within two minutes, and down again as slowly."""
    return max(0.3, 6.0 - abs(second - 200) * 0.05)


def spikes(second: int) -> float:
    """Two seconds of 8 once a minute, 1 between them."""
    return 8.0 if second % 60 < 2 and second > 30 else 1.0


def sawtooth(second: int) -> float:
    """From 1 to 5 in 40 s, again and again."""
    return 1.0 + 4.0 * (second % 40) / 40


def idle(second: int) -> float:
    """Work for three minutes, then none."""
    return 3.0 if second < 180 else 0.0


TRACES: dict[str, Trace] = {
    "step": step, "ramp": ramp, "spikes": spikes, "sawtooth": sawtooth, "idle": idle,
}  # fmt: skip
#: Serve's default policy as it comes, and with the delays that we would give it.
DEFAULTS: dict[str, dict[str, Any]] = {
    "Serve, as it comes": {"min_replicas": 1, "max_replicas": 16},
    "Serve, tuned": {
        "min_replicas": 1,
        "max_replicas": 16,
        "target_ongoing_requests": LANES * TARGET_UTILISATION,
        "upscale_delay_s": 3,
        "downscale_delay_s": 60,
        "look_back_period_s": LOOK_BACK_S,
        "metrics_interval_s": 1,
    },
}

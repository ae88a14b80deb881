"""
How many replicas a deployment should have: a pure decision, standard library only.

    busy now ─► busy soon (rising trend) ─► replicas at the target ─► + queue, + sick ─► bounds
             ─► never below what was wanted in the last minute

Every decision names its cause in one word and its reason in a sentence.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

#: Share of a replica that should be busy: the rest absorbs bursts and a lost replica.
TARGET_UTILISATION = 0.6
#: A replica is given up only if the others would stay this far below the target.
HYSTERESIS = 0.9
#: New replicas take calls about this long after they are asked for.
LOOK_AHEAD_S = 6.0
#: The trend is that of this long, looked at once a second: one spike is no trend.
TREND_WINDOW_S = 6.0
TREND_STEP_S = 1.0
TREND_SAMPLES = 4
#: However steep the trend: at most this many times what is busy now.
MAX_GROWTH = 1.5
#: Calls that wait longer than this ask for another replica whatever the utilisation says.
QUEUE_AGE_S = 0.25
#: From this on half as many again.
LONG_QUEUE_AGE_S = 1.0
#: A queue asks again only after this time, in which what it asked for comes up.
QUEUE_STEP_S = 4.0
#: The count may come down to the most that was wanted within this time.
COOL_DOWN_S = 60.0
#: A replica that fails this share of its calls, or reports that a check would fail, is sick.
SICK_ERROR_SHARE = 0.5
#: So is one whose newest report, of which there is one a second, is this much older than another's:
#: it stands still, and Serve needs three checks of some seconds each to see it.
SILENT_S = 4.0

Cause = Literal["load", "trend", "queue", "sick", "held", "floor", "ceiling", "unknown"]
Samples = tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What one replica said of itself."""

    #: Share of its capacity in use, 0 to 1.
    busy: float
    queue_age_s: float = 0.0
    is_sick: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """What one decision leaves for the next."""

    #: (time, replicas busy), oldest first.
    trend: Samples = ()
    #: Replicas that reported, and when they last became fewer.
    reported: int = 0
    shrunk_at_s: float = -math.inf
    #: (time, replicas wanted), oldest and largest first.
    wanted: Samples = ()
    #: When a queue last added replicas, and how many replicas it asked for.
    queued_at_s: float = -math.inf
    queued_for: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """A deployment as the policy sees it."""

    now_s: float
    reports: Sequence[Report]
    #: Replicas that run, those included that have not reported.
    running: int
    #: Replicas last asked for.
    target: int
    low: int
    high: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Replicas to have, why, and what to remember."""

    replicas: int
    cause: Cause
    reason: str
    memory: Memory = field(default_factory=Memory)


def decide(seen: Observation, memory: Memory) -> Decision:
    """
    Replicas to have now.

    Without a single report nothing is known: the present target stays.
    """
    if not seen.reports:
        replicas = _clamp(seen.target, seen)
        return Decision(
            replicas=replicas, cause="unknown", reason="no replica has reported", memory=memory
        )
    busy = sum(report.busy for report in seen.reports)
    is_smaller = len(seen.reports) < memory.reported
    shrunk_at_s = seen.now_s if is_smaller else memory.shrunk_at_s
    # Replicas that leave take their share of the averages along: what follows is no trend.
    is_settled = seen.now_s - shrunk_at_s >= TREND_WINDOW_S
    trend = _with_sample(memory.trend if is_settled else (), seen.now_s, busy)
    wanted, cause, reason = _for_load(seen, busy, _trend_per_s(trend))
    queued_at_s, queued_for = memory.queued_at_s, memory.queued_for
    queue_age_s = max(report.queue_age_s for report in seen.reports)
    if queue_age_s >= QUEUE_AGE_S:
        if seen.now_s - queued_at_s >= QUEUE_STEP_S:
            queued_at_s, queued_for = seen.now_s, _for_queue(seen, queue_age_s)
        if queued_for > wanted:
            wanted, cause = queued_for, "queue"
            reason += f"; calls wait {queue_age_s:.2f} s"
    if sick := sum(report.is_sick for report in seen.reports):
        # Beside the floor, which counts replicas that work.
        wanted, cause = max(wanted, seen.low) + sick, "sick"
        reason += f"; {sick} sick"
    wanted, cause = _bounded(wanted, cause, seen)
    # Without a memory (the controller was restarted) what runs counts as wanted until now.
    before = memory.wanted or ((seen.now_s, float(seen.target)),)
    history = _with_want(before, seen.now_s, wanted)
    replicas = _clamp(int(history[0][1]), seen)
    if replicas > wanted:
        cause = "held"
        reason += f"; held at the {replicas} wanted within {COOL_DOWN_S:.0f} s"
    kept = Memory(
        trend=trend,
        reported=len(seen.reports),
        shrunk_at_s=shrunk_at_s,
        wanted=history,
        queued_at_s=queued_at_s,
        queued_for=queued_for,
    )
    return Decision(replicas=replicas, cause=cause, reason=reason, memory=kept)


def _for_load(seen: Observation, busy: float, slope_per_s: float) -> tuple[int, Cause, str]:
    ahead = min(busy + max(slope_per_s, 0.0) * LOOK_AHEAD_S, busy * MAX_GROWTH)
    now = _replicas_for(busy, TARGET_UTILISATION)
    wanted = _replicas_for(ahead, TARGET_UTILISATION)
    reason = f"{busy:.2f} of {len(seen.reports)} replicas busy"
    if wanted > now:
        return wanted, "trend", f"{reason}, {ahead:.2f} in {LOOK_AHEAD_S:.0f} s"
    if wanted < seen.target:
        wanted = min(seen.target, _replicas_for(ahead, TARGET_UTILISATION * HYSTERESIS))
    return wanted, "load", reason


def _for_queue(seen: Observation, queue_age_s: float) -> int:
    return seen.running + (math.ceil(seen.running / 2) if queue_age_s >= LONG_QUEUE_AGE_S else 1)


def _replicas_for(busy: float, target: float) -> int:
    # A hair off, so that rounding never costs a replica.
    return math.ceil(busy / target - 1e-9)


def _bounded(wanted: int, cause: Cause, seen: Observation) -> tuple[int, Cause]:
    if wanted < seen.low:
        return seen.low, "floor"
    if wanted > seen.high:
        return seen.high, "ceiling"
    return wanted, cause


def _clamp(replicas: int, seen: Observation) -> int:
    return max(seen.low, min(replicas, seen.high))


def _with_sample(trend: Samples, now_s: float, busy: float) -> Samples:
    """Once a second, however often the controller asks."""
    kept = tuple(sample for sample in trend if 0 <= now_s - sample[0] <= TREND_WINDOW_S)
    if kept and now_s - kept[-1][0] < TREND_STEP_S:
        return kept
    return (*kept, (now_s, busy))


def _trend_per_s(trend: Samples) -> float:
    """The slope, if it was there before the newest sample; 0 for too few samples."""
    if len(trend) < TREND_SAMPLES:
        return 0.0
    return min(_slope_per_s(trend), _slope_per_s(trend[:-1]))


def _slope_per_s(trend: Samples) -> float:
    """By least squares."""
    mean_at = sum(at for at, _ in trend) / len(trend)
    mean_busy = sum(busy for _, busy in trend) / len(trend)
    spread = sum((at - mean_at) ** 2 for at, _ in trend)
    return sum((at - mean_at) * (busy - mean_busy) for at, busy in trend) / spread


def _with_want(history: Samples, now_s: float, wanted: int) -> Samples:
    """Without what a later, greater or equal want has made irrelevant: it stays small."""
    kept = [want for want in history if 0 <= now_s - want[0] <= COOL_DOWN_S and want[1] > wanted]
    return (*kept, (now_s, float(wanted)))


def reports_from(
    metrics: Mapping[str, Mapping[Any, float]], reported_s: Mapping[Any, float] | None = None
) -> list[Report]:
    """
    The replicas' reports in the form in which Serve hands them over: metric -> replica -> value.

    A replica's processor share counts where it is the greater: Python runs in one core however
    many lanes there are.

    Args:
        metrics: What each replica last said, however long ago that was.
        reported_s: When each said it, by its node's clock.  Compared among themselves alone, so
            that a controller that stood still takes nobody for silent.
    """
    empty: Mapping[Any, float] = {}
    cpu, ages = metrics.get("cpu_share", empty), metrics.get("queue_age_s", empty)
    errors, degraded = metrics.get("error_share", empty), metrics.get("degraded", empty)
    reported_s = reported_s or empty
    newest_s = max(reported_s.values(), default=0.0)

    def is_sick(replica: Any) -> bool:
        is_silent = newest_s - reported_s.get(replica, newest_s) >= SILENT_S
        is_failing = errors.get(replica, 0.0) >= SICK_ERROR_SHARE
        return is_silent or is_failing or degraded.get(replica, 0.0) > 0

    return [
        Report(
            busy=max(utilisation, cpu.get(replica, 0.0)),
            queue_age_s=ages.get(replica, 0.0),
            is_sick=is_sick(replica),
        )
        for replica, utilisation in metrics.get("utilisation", empty).items()
    ]

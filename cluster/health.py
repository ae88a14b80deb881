"""
What a replica knows of itself, over a sliding window; feeds check_health and the autoscaling.

Shared by Predictor, Loader and Ingress.  Written to on the event loop alone; read from any thread,
since Serve calls a plain ``record_autoscaling_stats`` in one of its own: what is read is copied in
one step first.
"""

import asyncio
import math
import resource
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

#: Calls of the last so many seconds count.
WINDOW_S = 10.0
#: How busy a replica is, is said of the last so many: what follows a load can be no quicker than
#: what it is shown, and Serve takes the mean of some reports.
BUSY_WINDOW_S = 1.0
#: How often the event loop is asked whether it still turns.
BEAT_S = 0.25
#: A loop that stood still for this long once in the window is stuck in somebody's code.
STALLED_S = 5.0
#: A call that runs at this multiple of its deadline will not come back.
OVERDUE_FACTOR = 2.0
#: Calls remembered; more than this in a window are sampled by their last ones.
_REMEMBERED = 4096


@dataclass(kw_only=True, eq=False)
class TrackedCall:
    """One call from its arrival to its end; a context manager that ends it."""

    health: "ReplicaHealth"
    #: For whom it runs, as named in the health check's message.
    label: str
    timeout_s: float
    arrived_s: float
    #: From when on it waits for its turn; None while what it needs is being fetched.
    waits_since_s: float | None
    begun_s: float | None = None
    is_error: bool = False

    def prepared(self) -> None:
        """What it needs is there: from now on it waits for its turn."""
        self.waits_since_s = self.health.now_s()

    def begin(self) -> None:
        """The call leaves the queue and runs."""
        self.begun_s = self.health.now_s()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.health.ended(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ended:
    at_s: float
    waited_s: float
    ran_s: float
    is_error: bool


@dataclass(kw_only=True)
class ReplicaHealth:
    """The sliding window of one replica."""

    #: Calls that may run at a time.
    lanes: int
    #: Resident bytes beyond which a restart is cheaper than going on; none is watched at 0.
    memory_bound_bytes: int = 0
    clock: Callable[[], float] = time.monotonic
    #: Processor seconds that this process has used.
    cpu_clock: Callable[[], float] = time.process_time
    window_s: float = WINDOW_S
    busy_window_s: float = BUSY_WINDOW_S
    _open: set[TrackedCall] = field(default_factory=set)
    _ended: deque[_Ended] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    _lags: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    _cpu: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    _started_s: float | None = None
    _beating: "asyncio.Task[None] | None" = None

    def now_s(self) -> float:
        """The window's own clock."""
        return self.clock()

    def track(
        self, *, label: str = "", timeout_s: float = math.inf, is_preparing: bool = False
    ) -> TrackedCall:
        """
        A call that has just arrived; use it in a ``with``.

        Args:
            label: For whom it runs.
            timeout_s: Its deadline.
            is_preparing: It waits for its turn from ``prepared`` on only: a cold model's first call
                is no queue, and another replica would not help it.
        """
        now_s = self.clock()
        if self._started_s is None:
            self._started_s = now_s
        call = TrackedCall(
            health=self,
            label=label,
            timeout_s=timeout_s,
            arrived_s=now_s,
            waits_since_s=None if is_preparing else now_s,
        )
        self._open.add(call)
        return call

    def ended(self, call: TrackedCall) -> None:
        """Called by the call itself when its ``with`` ends."""
        self._open.discard(call)
        now_s = self.clock()
        begun_s = now_s if call.begun_s is None else call.begun_s
        since_s = begun_s if call.waits_since_s is None else call.waits_since_s
        self._ended.append(
            _Ended(
                at_s=now_s,
                waited_s=begun_s - since_s,
                ran_s=now_s - begun_s,
                is_error=call.is_error,
            )
        )

    def beat(self) -> None:
        """Start watching the event loop that runs now; repeating it is harmless."""
        if self._beating is None or self._beating.done():
            self._beating = asyncio.get_running_loop().create_task(self._watch_loop())

    def lagged(self, lag_s: float) -> None:
        """The event loop was late by ``lag_s``; the processor time is noted along with it."""
        now_s = self.clock()
        self._lags.append((now_s, lag_s))
        self._cpu.append((now_s, self.cpu_clock()))

    def stop(self) -> None:
        """Stop watching the event loop."""
        if self._beating is not None:
            self._beating.cancel()

    def faults(self) -> list[str]:
        """Sentences on what a restart would mend; empty for a healthy replica."""
        faults = []
        now_s = self.clock()
        for call in tuple(self._open):
            if call.begun_s is not None:
                ran_s = now_s - call.begun_s
                if ran_s > OVERDUE_FACTOR * call.timeout_s:
                    faults.append(f"{call.label} has run {ran_s:.1f} s, twice its deadline")
        lag_s = self._worst_lag_s(now_s)
        if lag_s > STALLED_S:
            faults.append(f"the event loop stood still for {lag_s:.1f} s")
        resident_bytes = resident_memory_bytes()
        if 0 < self.memory_bound_bytes < resident_bytes:
            faults.append(f"{resident_bytes} resident bytes, {self.memory_bound_bytes} are allowed")
        return faults

    def stats(self) -> dict[str, float]:
        """
        The window as floats for ``record_autoscaling_stats``.

        Returns:
            utilisation (busy lanes, 0 to 1), cpu_share (of one core), queue_age_s, p95_ms,
            error_share, loop_lag_s (the worst), loop_lag_p95_s, memory_share (of its bound),
            degraded (1 if a check would fail).
        """
        now_s = self.clock()
        recent = [e for e in tuple(self._ended) if now_s - e.at_s <= self.window_s]
        waiting_s = [
            now_s - call.waits_since_s
            for call in tuple(self._open)
            if call.begun_s is None and call.waits_since_s is not None
        ]
        waits_s = waiting_s + [e.waited_s for e in recent]
        bound = self.memory_bound_bytes
        return {
            "utilisation": self._utilisation(now_s, recent),
            "cpu_share": self._cpu_share(now_s),
            "queue_age_s": max(waits_s, default=0.0),
            "p95_ms": percentile([e.ran_s * 1000 for e in recent], 0.95),
            "error_share": sum(e.is_error for e in recent) / len(recent) if recent else 0.0,
            "loop_lag_s": self._worst_lag_s(now_s),
            "loop_lag_p95_s": percentile(self._recent_lags_s(now_s), 0.95),
            "memory_share": resident_memory_bytes() / bound if bound else 0.0,
            "degraded": float(bool(self.faults())),
        }

    def _utilisation(self, now_s: float, recent: Sequence[_Ended]) -> float:
        if self._started_s is None:
            return 0.0
        window_s = max(min(self.busy_window_s, now_s - self._started_s), 1.0)
        since_s = now_s - window_s
        busy_s = sum(min(e.ran_s, max(e.at_s - since_s, 0.0)) for e in recent)
        for call in tuple(self._open):
            if call.begun_s is not None:
                busy_s += now_s - max(call.begun_s, since_s)
        return min(busy_s / (window_s * self.lanes), 1.0)

    def _cpu_share(self, now_s: float) -> float:
        """Of one core, since what runs Python gets no more; 0 before two looks at the clock."""
        since = [sample for sample in tuple(self._cpu) if now_s - sample[0] <= self.busy_window_s]
        if len(since) < 2:  # noqa: PLR2004 - a rate needs two readings
            return 0.0
        (began_s, before), (ended_s, after) = since[0], since[-1]
        return min((after - before) / max(ended_s - began_s, BEAT_S), 1.0)

    def _recent_lags_s(self, now_s: float) -> list[float]:
        return [lag for at, lag in tuple(self._lags) if now_s - at <= self.window_s]

    def _worst_lag_s(self, now_s: float) -> float:
        return max(self._recent_lags_s(now_s), default=0.0)

    async def _watch_loop(self) -> None:
        while True:
            asked_s = self.clock()
            await asyncio.sleep(BEAT_S)
            self.lagged(max(self.clock() - asked_s - BEAT_S, 0.0))


def percentile(samples: Sequence[float], share: float) -> float:
    """
    Nearest-rank percentile; 0 for no samples.

    Args:
        samples: In any order.
        share: In (0, 1]: 0.95 for the 95th.
    """
    if not samples:
        return 0.0
    ordered = sorted(samples)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def resident_memory_bytes() -> int:
    """Physical memory of this process."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()

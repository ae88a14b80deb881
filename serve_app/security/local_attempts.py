"""Attempts at passwords as one process counts them, for while Valkey is away."""

from collections.abc import Callable, Sequence

from serve_app.security.shared_state import WINDOW_S

#: Buckets that are remembered; the oldest go first.
CAPACITY = 100_000


class LocalAttempts:
    """The arithmetic of ``lockout``'s script, without its memory for known addresses."""

    def __init__(self, *, limit: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        #: bucket -> when it would be empty, failures in a row.
        self._buckets: dict[str, tuple[float, int]] = {}

    def charge(self, buckets: Sequence[str]) -> float:
        """Charge all buckets and return 0, or none and return the seconds to wait."""
        now = self._clock()
        charged = {}
        wait_s = 0.0
        for bucket in buckets:
            empty_at, failures = self._buckets.get(bucket, (now, 0))
            empty_at = max(empty_at, now) + self._interval_s(failures)
            charged[bucket] = (empty_at, failures + 1)
            wait_s = max(wait_s, empty_at - now - WINDOW_S)
        # Sums of intervals are not exact.
        if wait_s > 1e-6:  # noqa: PLR2004 - as the comment says
            return wait_s
        for bucket, state in charged.items():
            # Written anew, so that the order of the dictionary is that of the last use.
            self._buckets.pop(bucket, None)
            self._buckets[bucket] = state
        while len(self._buckets) > CAPACITY:
            del self._buckets[next(iter(self._buckets))]
        return 0.0

    def give_back(self, buckets: Sequence[str]) -> None:
        """Undo one charge of each bucket."""
        for bucket in buckets:
            empty_at, failures = self._buckets.get(bucket, (0.0, 0))
            if failures > 0:
                undone = empty_at - self._interval_s(failures - 1)
                self._buckets[bucket] = (undone, failures - 1)

    def _interval_s(self, failures: int) -> float:
        return min(float(WINDOW_S), WINDOW_S / self._limit * 2.0 ** (failures // self._limit))

"""A small circuit breaker: after a connection failure everybody is answered at once for a while."""

import threading
import time
from collections.abc import Callable

#: Seconds without trying after a failure; then one probe goes through.
PAUSE_S = 1.0


class Circuit:
    """
    Closed while the server answers; open for ``pause_s`` after a failure; then one probe.

    The methods are called from pool threads and the event loop alike.
    """

    def __init__(
        self, *, pause_s: float = PAUSE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pause_s = pause_s
        self._clock = clock
        self._lock = threading.Lock()
        self._open_until: float | None = None
        self._is_probing = False

    @property
    def is_closed(self) -> bool:
        """True while nothing has failed since the last success."""
        return self._open_until is None

    @property
    def is_open(self) -> bool:
        """True while not even a probe would be admitted, because the last failure is too fresh."""
        until = self._open_until
        return until is not None and self._clock() < until

    def admit(self) -> bool:
        """Whether the caller may try now; who is admitted must ``succeed`` or ``fail``."""
        with self._lock:
            if self._open_until is None:
                return True
            if self._is_probing or self._clock() < self._open_until:
                return False
            self._is_probing = True
            return True

    def succeed(self) -> None:
        """Close: the server answered."""
        with self._lock:
            self._open_until = None
            self._is_probing = False

    def fail(self) -> None:
        """Open, or stay open after a failed probe."""
        with self._lock:
            self._open_until = self._clock() + self._pause_s
            self._is_probing = False

"""
Which Predictors have not answered lately: noted at sending and at answers, read by the router.

One that stands still is given calls until Serve's health checks have failed three times, about
sixteen seconds; whoever waits there that long takes a place that others need.
"""

import time
from collections.abc import Callable

#: A Predictor that was sent a call so long ago, and has answered none since, is passed over.
SILENT_S = 0.5
#: Then it gets a call again, so that one that was only slow comes back.
FORGIVEN_S = 10.0


class Silence:
    """Replicas by the first call that they were sent since they last answered one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since_s: dict[str, float] = {}

    def sent(self, replica_id: str) -> None:
        """A call went there."""
        self._since_s.setdefault(replica_id, self._clock())

    def answered(self, replica_id: str) -> None:
        """An answer came from there."""
        self._since_s.pop(replica_id, None)

    def is_silent(self, replica_id: str) -> bool:
        """Whether other replicas are to be preferred."""
        since_s = self._since_s.get(replica_id)
        if since_s is None:
            return False
        silent_s = self._clock() - since_s
        if silent_s >= FORGIVEN_S:
            del self._since_s[replica_id]
        return SILENT_S <= silent_s < FORGIVEN_S


#: Of this process; the router's own module is pickled by value, what it imports is shared.
predictors = Silence()

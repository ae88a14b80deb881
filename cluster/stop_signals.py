"""SIGTERM and Ctrl-C as the launcher takes them: the first ends it in order, the next hurries."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class StopRequested(BaseException):  # not an Exception: no handler of errors may swallow it
    """SIGTERM or Ctrl-C came."""


class StopSignals:
    """What the main thread knows of signals to stop."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self._may_skip = False

    @contextlib.contextmanager
    def skippable(self) -> Iterator[None]:
        """A body that another signal cuts short; the step after it is still made."""
        self._may_skip = True
        try:
            yield
        except StopRequested:
            return
        finally:
            self._may_skip = False

    def handle(self, _signal: int, _frame: FrameType | None) -> None:
        """
        Note the signal.

        Raises:
            StopRequested: At the first, and at each one during a skippable body.
        """
        is_first = not self.event.is_set()
        self.event.set()
        if is_first or self._may_skip:
            raise StopRequested


@contextlib.contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Signals taken over for the body, in the main thread."""
    taken = StopSignals()
    names = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    previous = {name: signal.signal(name, taken.handle) for name in names}
    try:
        yield taken
    finally:
        for name, handler in previous.items():
            signal.signal(name, handler)

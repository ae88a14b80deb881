"""
What instruments are told, kept for a second and passed on together.

Passing one value on costs Ray some microseconds in a tight loop, and several times that in the
midst of a request, when neither its code nor its data are in the processor's caches.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

DELAY_S = 1.0


class Batches:
    """
    Values by their labels, until a timer passes them on: each of them, as a histogram needs it.

    Args:
        labels: Of the instrument.
        write: Takes a value and its labels.
        delay_s: How long a value may wait.
    """

    def __init__(
        self, labels: Sequence[str], write: Callable[..., None], *, delay_s: float = DELAY_S
    ) -> None:
        self._labels = tuple(labels)
        self._write = write
        self._delay_s = delay_s
        self._lock = threading.Lock()
        self._values: dict[tuple[str, ...], list[float]] = {}

    def add(self, value: float, tags: Mapping[str, str]) -> None:
        """Keep a value; safe in any thread."""
        key = tuple([tags[label] for label in self._labels])
        with self._lock:
            is_first = not self._values
            self._values.setdefault(key, []).append(value)
        if is_first:
            timer = threading.Timer(self._delay_s, self.flush)
            timer.daemon = True
            timer.start()

    def flush(self) -> None:
        """Pass on what was kept."""
        with self._lock:
            kept, self._values = self._values, {}
        for key, values in kept.items():
            tags = dict(zip(self._labels, key, strict=True))
            for value in self.merged(values):
                self._write(value, tags=tags)

    def merged(self, values: Sequence[float]) -> Iterable[float]:
        """What is passed on in the place of ``values``, which have the same labels."""
        return values


class Steps(Batches):
    """A counter's steps: their sum is passed on."""

    def merged(self, values: Sequence[float]) -> Iterable[float]:
        """The sum alone."""
        return (sum(values),)

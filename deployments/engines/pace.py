"""
Which of two equal engines is faster at a batch size, learnt from the batches that come.

Compiled models win on few rows and often lose on many; where the crossover lies depends on the
model and the machine.  Sizes fall into powers of two, each tried once with either engine.
"""

import threading

#: Below this many rows the choice made at vetting stands.
SMALL_ROWS = 64


class Pace:
    """Seconds per row by method, engine and size; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[tuple[str, int], dict[str, float]] = {}

    def pick(self, method: str, rows: int, engines: tuple[str, ...]) -> str:
        """The faster engine; an untried one first. The first of ``engines`` for small batches."""
        if rows < SMALL_ROWS or len(engines) == 1:
            return engines[0]
        with self._lock:
            known = self._seconds.get((method, rows.bit_length()), {})
            untried = [engine for engine in engines if engine not in known]
            return untried[0] if untried else min(engines, key=lambda engine: known[engine])

    def record(self, method: str, rows: int, engine: str, seconds: float) -> None:
        """Note what a batch took; of several measurements the best counts."""
        if rows < SMALL_ROWS:
            return
        with self._lock:
            known = self._seconds.setdefault((method, rows.bit_length()), {})
            known[engine] = min(known.get(engine, float("inf")), seconds / rows)

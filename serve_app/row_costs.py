"""
What rows cost a model, as measured: refuses a batch that cannot be done in time, and no other.

One row's cost at vetting is mostly the call's own overhead, so it says little of many rows until
a batch has been seen; only a row that costs more than any overhead counts from the start.
"""

from dataclasses import dataclass

from cluster.contracts import VersionRef

#: No scikit-learn call takes this long before its first row.
OVERHEAD_S = 0.05
#: Batches from which the cost of a row can be told from that of the call.
_TELLING_ROWS = 8
_MAX_ENTRIES = 10_000


@dataclass(frozen=True, slots=True)
class _Batch:
    rows: int
    seconds: float


class RowCosts:
    """The largest batch lately seen of each version and method."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], _Batch] = {}

    def note(self, version: VersionRef, method: str, *, rows: int, seconds: float) -> None:
        """Take in that an engine needed ``seconds`` for ``rows`` rows."""
        if rows < _TELLING_ROWS:
            return
        key = (version.key, method)
        seen = self._seen.get(key)
        # One of half the size is as telling, and newer.
        if seen is None or 2 * rows >= seen.rows:
            if seen is None and len(self._seen) >= _MAX_ENTRIES:
                del self._seen[next(iter(self._seen))]
            self._seen[key] = _Batch(rows, seconds)

    def most_rows(
        self, version: VersionRef, method: str, *, one_row_s: float, within_s: float
    ) -> int | None:
        """
        The largest batch that is done within ``within_s``; ``None`` where nothing is known.

        Args:
            version: Of the model.
            method: That is asked for.
            one_row_s: Seconds that one row took at vetting, overhead included; 0 for unknown.
            within_s: Seconds.
        """
        marginal_s = self._marginal_s(version, method, one_row_s)
        if marginal_s <= 0:
            return None
        return max(1, 1 + int((within_s - one_row_s) / marginal_s))

    def _marginal_s(self, version: VersionRef, method: str, one_row_s: float) -> float:
        seen = self._seen.get((version.key, method))
        if seen is None:
            return one_row_s if one_row_s >= OVERHEAD_S else 0.0
        return (seen.seconds - one_row_s) / (seen.rows - 1)

"""The latency histogram of ``prediction_stats``: log-spaced buckets, twelve to a decade."""

import math
from collections.abc import Sequence

LOWEST_S = 50e-6
PER_DECADE = 12
#: 50 µs to 50 s, and one bucket for everything above.
BUCKETS = 6 * PER_DECADE + 1
_SCALE = PER_DECADE / math.log(10)


def bucket_of(elapsed_s: float) -> int:
    """Index of the bucket that a duration falls into."""
    if elapsed_s <= LOWEST_S:
        return 0
    return min(int(math.log(elapsed_s / LOWEST_S) * _SCALE), BUCKETS - 1)


def quantile_ms(counts: Sequence[int], quantile: float) -> float | None:
    """
    A quantile of the durations that were counted.

    Args:
        counts: One count a bucket, length ``BUCKETS``.
        quantile: Above 0, at most 1.

    Returns:
        Milliseconds, at most 11 % off (half a bucket, interpolated geometrically); None if nothing
        was counted.
    """
    total = sum(counts)
    rank = quantile * total
    below = 0
    for index, count in enumerate(counts):
        if count and below + count >= rank:
            position = index + (rank - below) / count
            return LOWEST_S * 1000 * math.exp(position / _SCALE)
        below += count
    return None

"""The latency histogram: quantiles within the width of a bucket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.registry.latency import BUCKETS, bucket_of, quantile_ms


def _counts(durations_s: list[float]) -> list[int]:
    counts = [0] * BUCKETS
    for duration_s in durations_s:
        counts[bucket_of(duration_s)] += 1
    return counts


@given(
    durations_s=st.lists(st.floats(60e-6, 40), min_size=1, max_size=200),
    quantile=st.sampled_from([0.5, 0.95, 1.0]),
)
def test_a_quantile_is_near_the_nearest_rank(durations_s: list[float], quantile: float) -> None:
    rank = max(1, -int(-quantile * len(durations_s) // 1))
    exact_ms = sorted(durations_s)[rank - 1] * 1000

    estimate_ms = quantile_ms(_counts(durations_s), quantile)

    assert estimate_ms == pytest.approx(exact_ms, rel=0.22)


@pytest.mark.parametrize("duration_s", [0.0, -1.0, 1e-9, 50e-6, 1e3, 1e9])
def test_every_duration_has_a_bucket(duration_s: float) -> None:
    assert 0 <= bucket_of(duration_s) < BUCKETS


def test_nothing_counted_has_no_quantile() -> None:
    assert quantile_ms([0] * BUCKETS, 0.5) is None

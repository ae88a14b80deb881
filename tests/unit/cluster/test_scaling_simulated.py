"""The policy on whole traces, beside Ray Serve's default one on the same."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.cluster.scaling_simulator import (
    DEFAULTS,
    TRACES,
    Ours,
    Played,
    ServesDefault,
    Trace,
    play,
)

SECONDS = 600


def untuned(trace: Trace) -> Played:
    return play(ServesDefault(**DEFAULTS["Serve, as it comes"]), trace, seconds=SECONDS)


@pytest.mark.parametrize("name", TRACES)
def test_it_is_less_under_capacity_than_serves_default(name: str) -> None:
    ours = play(Ours(), TRACES[name], seconds=SECONDS)

    assert ours.late_s < untuned(TRACES[name]).late_s
    assert ours.late_s <= 15


@pytest.mark.parametrize("name", ["step", "ramp", "sawtooth", "idle"])
def test_it_overshoots_less_than_serves_default(name: str) -> None:
    ours = play(Ours(), TRACES[name], seconds=SECONDS)

    assert ours.overshoot < untuned(TRACES[name]).overshoot


@pytest.mark.parametrize("name", ["spikes", "sawtooth"])
def test_it_does_not_flap(name: str) -> None:
    ours = play(Ours(), TRACES[name], seconds=SECONDS)
    settled = ours.replicas[120:]

    assert max(settled) - min(settled) <= 3
    assert ours.changes <= 2


def test_a_tenfold_step_is_followed_within_ten_seconds_and_back() -> None:
    ours = play(Ours(), lambda s: 4.0 if 60 <= s < 180 else 0.4, seconds=400, high=8)

    assert ours.replicas[70] >= 6
    assert ours.replicas[-1] == 1


def test_it_returns_to_the_floor_when_idle() -> None:
    ours = play(Ours(), TRACES["idle"], seconds=SECONDS, low=2)

    assert ours.replicas[-1] == 2


@pytest.mark.parametrize("factor", [3.0, 10.0])
def test_a_sick_replica_is_compensated(factor: float) -> None:
    def steady(_: int) -> float:
        return 2.0

    well = play(Ours(), steady, seconds=300, start=4)
    ill = play(Ours(), steady, seconds=300, start=4, slowness={1: factor}, sick_from_s=100)

    assert ill.late_s == 0
    assert min(ill.replicas[110:]) >= max(well.replicas[110:]) + 1


@given(
    levels=st.lists(st.floats(0, 8), min_size=1, max_size=12),
    low=st.integers(1, 3),
    more=st.integers(0, 12),
)
@settings(max_examples=60, deadline=None)
def test_whatever_comes_the_bounds_hold_and_each_decision_has_its_reason(
    levels: list[float], low: int, more: int
) -> None:
    policy = Ours()

    played = play(
        policy, _levels(levels), seconds=30 * len(levels), low=low, high=low + more, start=low
    )

    assert all(low <= count <= low + more for count in played.replicas)
    assert all(decision.reason and decision.cause for decision in policy.decisions)


@given(levels=st.lists(st.floats(0, 8), min_size=1, max_size=6), last=st.floats(0, 8))
@settings(max_examples=60, deadline=None)
def test_whatever_came_before_a_steady_load_ends_in_a_steady_count_that_carries_it(
    levels: list[float], last: float
) -> None:
    trace = _levels([*levels, *[last] * 8])
    played = play(Ours(), trace, seconds=30 * (len(levels) + 8))
    settled = played.replicas[-30:]

    assert min(settled) == max(settled)
    assert played.queue_ages_s[-1] == 0
    assert settled[0] - played.ideal[-1] in (0, 1, 2)


def _levels(levels: list[float]) -> Callable[[int], float]:
    return lambda second: levels[min(second // 30, len(levels) - 1)]

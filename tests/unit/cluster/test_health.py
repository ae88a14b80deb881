"""A replica's view of itself, with a clock that passes when told."""

import asyncio
import threading

import pytest

from cluster.health import ReplicaHealth, percentile, resident_memory_bytes

pytestmark = pytest.mark.anyio


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> ReplicaHealth:
    return ReplicaHealth(lanes=2, clock=clock)


def _call(health: ReplicaHealth, clock: Clock, *, waits_s: float, runs_s: float) -> None:
    with health.track() as call:
        clock.now_s += waits_s
        call.begin()
        clock.now_s += runs_s


def test_a_fresh_replica_is_idle_and_well(health: ReplicaHealth) -> None:
    stats = health.stats()

    assert (stats["utilisation"], stats["queue_age_s"], stats["degraded"]) == (0.0, 0.0, 0.0)
    assert health.faults() == []


def test_utilisation_is_busy_time_over_lanes(health: ReplicaHealth, clock: Clock) -> None:
    for _ in range(4):
        _call(health, clock, waits_s=0.25, runs_s=0.25)  # 2 s, of which 1 busy, on two lanes

    assert health.stats()["utilisation"] == pytest.approx(0.25)


def test_a_step_shows_within_a_second_and_failures_for_ten(
    health: ReplicaHealth, clock: Clock
) -> None:
    with health.track() as failed:
        failed.begin()
        failed.is_error = True
    clock.now_s += 9
    _call(health, clock, waits_s=0.0, runs_s=1.0)
    stats = health.stats()

    assert stats["utilisation"] == pytest.approx(0.5)  # one of two lanes, all the time
    assert stats["error_share"] == pytest.approx(0.5)


def test_a_running_call_counts_as_busy(health: ReplicaHealth, clock: Clock) -> None:
    with health.track() as call:
        call.begin()
        clock.now_s += 20

        assert health.stats()["utilisation"] == pytest.approx(0.5)


def test_queue_age_is_the_longest_wait(health: ReplicaHealth, clock: Clock) -> None:
    _call(health, clock, waits_s=0.3, runs_s=0.1)
    with health.track():
        clock.now_s += 0.2

        assert health.stats()["queue_age_s"] == pytest.approx(0.3)


def test_what_a_call_needs_first_is_no_queue(health: ReplicaHealth, clock: Clock) -> None:
    with health.track(is_preparing=True) as call:
        clock.now_s += 2.0  # a cold model is loaded
        assert health.stats()["queue_age_s"] == 0.0
        call.prepared()
        clock.now_s += 0.3
        assert health.stats()["queue_age_s"] == pytest.approx(0.3)
        call.begin()
        clock.now_s += 1.0

    assert health.stats()["queue_age_s"] == pytest.approx(0.3)


def test_the_processor_share_is_of_one_core_and_of_the_window(clock: Clock) -> None:
    used_s = 0.0
    health = ReplicaHealth(lanes=4, clock=clock, cpu_clock=lambda: used_s)
    for share in [1.0] * 20 + [0.4] * 10:
        health.lagged(0.0)
        used_s += share
        clock.now_s += 1.0
    health.lagged(0.0)

    assert health.stats()["cpu_share"] == pytest.approx(0.4)


def test_another_thread_may_look_while_the_loop_writes() -> None:
    health = ReplicaHealth(lanes=1)
    looks: list[dict[str, float]] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            looks.append(health.stats())

    reader = threading.Thread(target=look)
    reader.start()
    for _ in range(20_000):
        health.lagged(0.0)
        with health.track() as call:
            call.begin()
    ended.set()
    reader.join()

    assert looks
    assert not any(stats["degraded"] for stats in looks)


def test_one_late_turn_of_the_loop_in_twenty_is_none_to_scale_for(
    health: ReplicaHealth, clock: Clock
) -> None:
    for lag_s in [0.0] * 39 + [3.0]:
        health.lagged(lag_s)
        clock.now_s += 0.25

    assert health.stats()["loop_lag_p95_s"] == 0.0
    assert health.stats()["loop_lag_s"] == pytest.approx(3.0)


def test_p95_and_errors_are_of_recent_calls(health: ReplicaHealth, clock: Clock) -> None:
    for _ in range(19):
        _call(health, clock, waits_s=0, runs_s=0.01)
    with health.track() as call:
        call.begin()
        call.is_error = True
        clock.now_s += 0.5
    stats = health.stats()

    assert stats["p95_ms"] == pytest.approx(10)
    assert stats["error_share"] == pytest.approx(0.05)
    clock.now_s += 11
    assert health.stats()["error_share"] == 0.0


def test_a_call_at_twice_its_deadline_is_a_fault_that_names_it(
    health: ReplicaHealth, clock: Clock
) -> None:
    with health.track(label="model-1/3", timeout_s=2.0) as call:
        call.begin()
        clock.now_s += 3.9
        assert health.faults() == []
        clock.now_s += 0.2

        assert health.faults() == ["model-1/3 has run 4.1 s, twice its deadline"]
        assert health.stats()["degraded"] == 1.0
    assert health.faults() == []


def test_a_call_that_waits_is_no_fault(health: ReplicaHealth, clock: Clock) -> None:
    with health.track(timeout_s=1.0):
        clock.now_s += 60

        assert health.faults() == []


def test_a_loop_that_stood_still_is_a_fault_for_a_while(
    health: ReplicaHealth, clock: Clock
) -> None:
    health.lagged(5.5)
    assert health.faults() == ["the event loop stood still for 5.5 s"]
    clock.now_s += 11

    assert health.faults() == []


def test_memory_beyond_its_bound_is_a_fault(clock: Clock) -> None:
    resident = resident_memory_bytes()
    health = ReplicaHealth(lanes=1, memory_bound_bytes=resident // 2, clock=clock)

    assert "resident bytes" in health.faults()[0]
    assert health.stats()["memory_share"] > 1


async def test_it_measures_how_late_the_event_loop_is() -> None:
    lags: asyncio.Queue[float] = asyncio.Queue()

    class Listening(ReplicaHealth):
        def lagged(self, lag_s: float) -> None:
            lags.put_nowait(lag_s)

    health = Listening(lanes=1)
    health.beat()
    health.beat()
    first, second = await lags.get(), await lags.get()
    health.stop()

    assert 0 <= first < 5
    assert 0 <= second < 5


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([], 0.0),
        ([3.0], 3.0),
        ([float(n) for n in range(1, 101)], 95.0),
        ([5.0, 1.0], 5.0),
    ],
)
def test_percentile_is_nearest_rank(samples: list[float], expected: float) -> None:
    assert percentile(samples, 0.95) == expected

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cluster.contracts import PredictCall, PredictReply
from cluster.errors import (
    DeadlineExceeded,
    Overloaded,
    PlatformError,
    PredictionFailed,
    ReplicaUnavailable,
)
from serve_app.retries import (
    BUSY_PATIENCE_S,
    JITTER_S,
    RetryBudget,
    RetryingPredictor,
    TrustingJudge,
)
from tests.unit.serve_app.predicting import rows_of, signature, version_ref

pytestmark = pytest.mark.anyio
GONE = ReplicaUnavailable("a replica was lost: try again")
LATE = DeadlineExceeded("no answer within the deadline: try again")


class Clock:
    """A clock that moves when told, and whose sleep moves it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Scripted:
    """A predictor that fails as scripted; a time-out takes the whole time it was given."""

    def __init__(self, clock: Clock, *script: PlatformError | None) -> None:
        self.clock = clock
        self.script = list(script)
        self.timeouts_s: list[float] = []

    async def predict(self, call: PredictCall) -> PredictReply:
        self.timeouts_s.append(call.timeout_s)
        error = self.script.pop(0)
        if isinstance(error, DeadlineExceeded):
            self.clock.now += call.timeout_s
        if error is not None:
            raise error
        return PredictReply(values=np.zeros(1), cost_s=0.0, engine="native")


def call(timeout_s: float = 10) -> PredictCall:
    return PredictCall(
        version=version_ref(),
        signature=signature(),
        method="predict",
        batch=rows_of(1),
        timeout_s=timeout_s,
    )


def retrying(
    *script: PlatformError | None, **options: Any
) -> tuple[RetryingPredictor, Scripted, Clock]:
    clock = Clock()
    behind = Scripted(clock, *script)
    lowest: Callable[[float, float], float] = lambda low, _high: low  # noqa: E731
    predictor = RetryingPredictor(behind, clock=clock, sleep=clock.sleep, jitter=lowest, **options)
    return predictor, behind, clock


async def test_two_deaths_are_survived_with_a_short_pause_before_each_try() -> None:
    predictor, behind, clock = retrying(GONE, GONE, None)
    await predictor.predict(call())

    assert len(behind.timeouts_s) == 3
    assert clock.slept == [JITTER_S[0]] * 2


async def test_a_third_death_is_told() -> None:
    predictor, behind, _ = retrying(GONE, GONE, GONE)
    with pytest.raises(ReplicaUnavailable):
        await predictor.predict(call())

    assert len(behind.timeouts_s) == 3


async def test_a_version_with_a_charge_gets_one_more_try_alone() -> None:
    class Suspecting(TrustingJudge):
        def was_charged(self, version_key: str) -> bool:
            return version_key == "m/1"

    predictor, behind, _ = retrying(GONE, GONE, judge=Suspecting())
    with pytest.raises(ReplicaUnavailable):
        await predictor.predict(call())

    assert len(behind.timeouts_s) == 2


@pytest.mark.parametrize("error", [PredictionFailed("no"), PlatformError("x")])
async def test_the_models_own_error_is_never_retried(error: PlatformError) -> None:
    predictor, behind, _ = retrying(error)
    with pytest.raises(type(error)):
        await predictor.predict(call())

    assert len(behind.timeouts_s) == 1


async def test_a_call_waits_a_while_for_a_place_and_keeps_its_tries() -> None:
    full = Overloaded("no place")
    predictor, behind, clock = retrying(full, full, GONE, full, GONE, None, budget=RetryBudget())
    await predictor.predict(call())

    assert len(behind.timeouts_s) == 6
    assert clock.now < BUSY_PATIENCE_S


@pytest.mark.parametrize(("timeout_s", "patience_s"), [(30, BUSY_PATIENCE_S), (4, 2)])
async def test_whoever_found_no_place_is_told_in_time_for_another_try(
    timeout_s: float, patience_s: float
) -> None:
    predictor, _, clock = retrying(*[Overloaded("no place")] * 100)
    with pytest.raises(Overloaded):
        await predictor.predict(call(timeout_s=timeout_s))

    assert patience_s <= clock.now < patience_s + 1


async def test_a_try_that_times_out_leaves_half_of_the_deadline_for_another() -> None:
    predictor, behind, clock = retrying(LATE, None)
    await predictor.predict(call(timeout_s=10))

    assert behind.timeouts_s == [pytest.approx(4.5), pytest.approx(5.5 - clock.slept[0])]


async def test_a_second_time_out_is_told() -> None:
    predictor, behind, clock = retrying(LATE, LATE)
    with pytest.raises(DeadlineExceeded):
        await predictor.predict(call(timeout_s=10))

    assert len(behind.timeouts_s) == 2
    assert clock.now == pytest.approx(10)


async def test_retries_stay_within_a_tenth_of_the_traffic_and_a_floor() -> None:
    clock = Clock()
    budget = RetryBudget(clock=clock, floor=2)
    for _ in range(100):
        budget.note_call()

    assert [budget.try_spend() for _ in range(11)] == [True] * 10 + [False]
    clock.now += 10  # the window has passed: the floor is left
    assert [budget.try_spend() for _ in range(3)] == [True, True, False]


async def test_without_budget_a_death_is_told_and_a_slow_call_has_all_its_time() -> None:
    clock = Clock()
    spent = RetryBudget(clock=clock, floor=0, share=0)
    predictor, behind, _ = retrying(GONE, budget=spent)
    with pytest.raises(ReplicaUnavailable):
        await predictor.predict(call(timeout_s=10))

    assert behind.timeouts_s == [pytest.approx(10)]

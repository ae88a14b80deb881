import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.contracts import Batch, PredictCall, PredictReply
from cluster.errors import (
    DeadlineExceeded,
    Overloaded,
    PlatformError,
    PredictionFailed,
    ReplicaUnavailable,
)
from serve_app.coalescing import Coalescer
from serve_app.lanes import CoalescerLimits
from tests.unit.serve_app.predicting import (
    BAD,
    FunctionPredictors,
    double,
    rows_of,
    signature,
    version_ref,
)

pytestmark = pytest.mark.anyio
SIGNATURE = signature()


def predictors(model: Any = double) -> FunctionPredictors:
    return FunctionPredictors({"m": model, "n": model})


async def ask(
    coalescer: Coalescer, batch: Batch, *, model: str = "m", timeout_s: float = 5
) -> list[Any]:
    reply = await coalescer.predict(
        version_ref(model), SIGNATURE, "predict", batch, timeout_s=timeout_s
    )
    return reply.values.tolist()  # type: ignore[no-any-return]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - a few turns of the loop, not a wait
            await asyncio.sleep(0)


async def held_back(
    coalescer: Coalescer, behind: FunctionPredictors, *batches: Batch, **options: Any
) -> list["asyncio.Task[list[Any]]"]:
    """Tasks for ``batches``, queued behind one RPC that is held back."""
    behind.gate.clear()
    first = asyncio.create_task(ask(coalescer, rows_of(0.0)))
    await until(lambda: len(behind.calls) == 1)
    tasks = [asyncio.create_task(ask(coalescer, batch, **options)) for batch in batches]
    await until(lambda: coalescer.queued_requests == len(batches))
    tasks.append(first)
    return tasks


async def test_an_idle_lane_sends_at_once_and_is_gone_afterwards() -> None:
    behind = predictors()
    coalescer = Coalescer(behind)

    assert await ask(coalescer, rows_of(1, 2)) == [2.0, 4.0]
    await until(lambda: coalescer.lane_count == 0)
    assert [call.batch.rows for call in behind.calls] == [2]


async def test_requests_that_arrive_in_one_turn_travel_together() -> None:
    behind = predictors()
    coalescer = Coalescer(behind)
    answers = await asyncio.gather(*(ask(coalescer, rows_of(n, n + 1)) for n in range(20)))

    assert answers == [[2.0 * n, 2.0 * n + 2] for n in range(20)]
    assert [call.batch.rows for call in behind.calls] == [40]


async def test_what_gathers_while_an_rpc_is_in_flight_goes_in_the_next() -> None:
    behind = predictors()
    coalescer = Coalescer(behind, replicas=lambda: 1)
    tasks = await held_back(coalescer, behind, *(rows_of(n) for n in range(10)))
    behind.gate.set()
    answers = await asyncio.gather(*tasks)

    assert answers == [[2.0 * n] for n in range(10)] + [[0.0]]
    assert [call.batch.rows for call in behind.calls] == [1, 10]


async def test_versions_and_methods_do_not_mix() -> None:
    behind = predictors()
    coalescer = Coalescer(behind)
    await asyncio.gather(
        ask(coalescer, rows_of(1), model="m"), ask(coalescer, rows_of(1), model="n")
    )

    assert sorted(call.version.model_id for call in behind.calls) == ["m", "n"]


async def test_columns_of_other_dtypes_do_not_mix() -> None:
    def kinds(_method: str, batch: Batch) -> Any:
        assert batch.columns is not None
        return np.array([type(value).__name__ for value in batch.columns[0].tolist()])

    coalescer = Coalescer(predictors(kinds))
    integers = Batch(rows=1, columns=(np.array([1]),))
    strings = Batch(rows=1, columns=(np.array(["a"], dtype=object),))
    answers = await asyncio.gather(ask(coalescer, integers), ask(coalescer, strings))

    assert list(answers) == [["int"], ["str"]]


@given(st.lists(st.lists(st.floats(0, 1e6), min_size=1, max_size=4), min_size=1, max_size=12))
def test_coalesced_equals_unbatched(requests: list[list[float]]) -> None:
    async def both() -> tuple[list[Any], list[Any]]:
        together = Coalescer(predictors(), limits=CoalescerLimits(max_rows=5))
        coalesced = await asyncio.gather(*(ask(together, rows_of(*rows)) for rows in requests))
        alone = [await ask(Coalescer(predictors()), rows_of(*rows)) for rows in requests]
        return list(coalesced), alone

    coalesced, alone = asyncio.run(both())

    assert coalesced == alone


async def test_one_bad_request_among_64_fails_alone() -> None:
    behind = predictors()
    coalescer = Coalescer(behind)
    values = [BAD if n == 37 else float(n + 100) for n in range(64)]
    answers = await asyncio.gather(
        *(ask(coalescer, rows_of(value)) for value in values), return_exceptions=True
    )

    assert isinstance(answers[37], PredictionFailed)
    del answers[37], values[37]
    assert answers == [[2 * value] for value in values]
    # Halving finds one guilty request in 64 by thirteen calls.
    assert len(behind.calls) == 13


async def test_another_failure_reaches_every_caller_as_its_own_error() -> None:
    def gone(_method: str, _batch: Batch) -> Any:
        raise ReplicaUnavailable("a replica was lost: try again", retry_after_s=1)

    coalescer = Coalescer(predictors(gone))
    errors = await asyncio.gather(
        ask(coalescer, rows_of(1)), ask(coalescer, rows_of(2)), return_exceptions=True
    )

    assert [type(error) for error in errors] == [ReplicaUnavailable, ReplicaUnavailable]
    assert errors[0] is not errors[1]
    assert isinstance(errors[0], PlatformError)
    assert errors[0].retry_after_s == 1


async def test_an_answer_of_another_length_is_refused() -> None:
    coalescer = Coalescer(predictors(lambda _method, _batch: np.zeros(7)))
    with pytest.raises(PlatformError, match="number of rows"):
        await ask(coalescer, rows_of(1))


async def test_a_cancelled_caller_leaves_the_queue_and_its_mates_whole() -> None:
    behind = predictors()
    coalescer = Coalescer(behind, replicas=lambda: 1)
    tasks = await held_back(coalescer, behind, *(rows_of(n) for n in (1, 2, 3)))
    tasks[1].cancel()
    await until(lambda: coalescer.queued_requests == 2)
    behind.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(answers[1], asyncio.CancelledError)
    assert [answers[0], answers[2]] == [[2.0], [6.0]]
    assert [call.batch.rows for call in behind.calls] == [1, 2]


async def test_a_caller_cancelled_in_flight_leaves_its_mates_whole() -> None:
    behind = predictors()
    behind.gate.clear()
    coalescer = Coalescer(behind)
    tasks = [asyncio.create_task(ask(coalescer, rows_of(n))) for n in (1.0, 2.0, 3.0)]
    await until(lambda: len(behind.calls) == 1)
    tasks[0].cancel()
    behind.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)

    assert isinstance(answers[0], asyncio.CancelledError)
    assert answers[1:] == [[4.0], [6.0]]


async def test_a_deadline_passes_for_its_own_caller_alone() -> None:
    behind = predictors()
    behind.gate.clear()
    coalescer = Coalescer(behind)
    hasty = asyncio.create_task(ask(coalescer, rows_of(1), timeout_s=0.01))
    patient = asyncio.create_task(ask(coalescer, rows_of(2), timeout_s=5))
    with pytest.raises(DeadlineExceeded):
        await hasty
    behind.gate.set()

    assert await patient == [4.0]
    # One RPC, with the time of the most patient of the two.
    assert len(behind.calls) == 1
    assert behind.calls[0].timeout_s > 4


async def test_a_request_whose_deadline_passes_in_the_queue_never_travels() -> None:
    behind = predictors()
    coalescer = Coalescer(behind, replicas=lambda: 1)
    tasks = await held_back(coalescer, behind, rows_of(1), timeout_s=0.01)
    with pytest.raises(DeadlineExceeded):
        await tasks[0]

    assert coalescer.queued_requests == 0
    behind.gate.set()
    assert await tasks[1] == [0.0]
    assert len(behind.calls) == 1


async def test_rows_and_bytes_bound_an_rpc_but_never_a_single_request() -> None:
    behind = predictors()
    coalescer = Coalescer(behind, limits=CoalescerLimits(max_rows=3), replicas=lambda: 1)
    sizes = (2, 2, 1, 7)
    tasks = await held_back(coalescer, behind, *(rows_of(*range(100, 100 + n)) for n in sizes))
    behind.gate.set()
    await asyncio.gather(*tasks)
    assert [call.batch.rows for call in behind.calls] == [1, 2, 3, 7]

    behind.calls.clear()
    by_bytes = Coalescer(behind, limits=CoalescerLimits(max_bytes=32), replicas=lambda: 1)
    tasks = await held_back(by_bytes, behind, *(rows_of(n) for n in (1, 2, 3)))
    behind.gate.set()
    await asyncio.gather(*tasks)
    assert [call.batch.rows for call in behind.calls] == [1, 2, 1]  # 16 bytes a row


@pytest.mark.parametrize(
    "limits", [CoalescerLimits(max_queued_requests=2), CoalescerLimits(max_queued_bytes=32)]
)
async def test_a_full_queue_sheds_and_says_when_to_come_back(limits: CoalescerLimits) -> None:
    behind = predictors()
    coalescer = Coalescer(behind, limits=limits, replicas=lambda: 1)
    tasks = await held_back(coalescer, behind, rows_of(1), rows_of(2))
    with pytest.raises(Overloaded) as shed:
        await ask(coalescer, rows_of(3))

    assert shed.value.retry_after_s is not None
    assert shed.value.retry_after_s >= 1
    behind.gate.set()
    assert await asyncio.gather(*tasks) == [[2.0], [4.0], [0.0]]


class TurnTaker:
    """Answers one RPC for each turn that it is given, and says that it cost two seconds."""

    def __init__(self) -> None:
        self.turns = asyncio.Semaphore(0)

    async def predict(self, call: PredictCall) -> PredictReply:
        await self.turns.acquire()
        assert call.batch.matrix is not None
        return PredictReply(values=call.batch.matrix[:, 0] * 2, cost_s=2.0, engine="native")


async def test_a_slow_model_leaves_half_of_the_places_to_others() -> None:
    behind = TurnTaker()
    coalescer = Coalescer(behind, limits=CoalescerLimits(fair_requests=3), replicas=lambda: 1)
    first = asyncio.create_task(ask(coalescer, rows_of(0)))
    await until(lambda: coalescer.calls_in_flight == 1)
    more = [asyncio.create_task(ask(coalescer, rows_of(n))) for n in (1, 2, 3)]
    await until(lambda: coalescer.queued_requests == 3)
    # Its lane knows from the first answer how slow it is; until then it is taken for a quick one.
    behind.turns.release()
    await first
    with pytest.raises(Overloaded) as shed:
        await ask(coalescer, rows_of(4))
    other = asyncio.create_task(ask(coalescer, rows_of(5), model="n"))
    await until(lambda: coalescer.calls_in_flight == 2)
    for _ in range(2):
        behind.turns.release()

    assert shed.value.retry_after_s is not None
    assert shed.value.retry_after_s > 1
    assert await other == [10.0]
    assert await asyncio.gather(*more) == [[2.0], [4.0], [6.0]]


async def test_a_quick_model_may_hold_more_than_its_share() -> None:
    behind = predictors()
    coalescer = Coalescer(behind, limits=CoalescerLimits(fair_requests=3), replicas=lambda: 1)
    tasks = await held_back(coalescer, behind, *(rows_of(n) for n in range(9)))
    behind.gate.set()

    assert await asyncio.gather(*tasks) == [[2.0 * n] for n in range(9)] + [[0.0]]


async def test_an_ageing_queue_opens_another_rpc_up_to_the_replica_count() -> None:
    behind = predictors()
    coalescer = Coalescer(behind, limits=CoalescerLimits(growth_age_s=0.001), replicas=lambda: 2)
    tasks = await held_back(coalescer, behind, rows_of(1))
    await until(lambda: len(behind.calls) == 2)
    tasks.append(asyncio.create_task(ask(coalescer, rows_of(2))))
    await until(lambda: coalescer.queued_requests == 1)

    assert coalescer.calls_in_flight == 2
    behind.gate.set()
    assert await asyncio.gather(*tasks) == [[2.0], [0.0], [4.0]]
    await until(lambda: coalescer.lane_count == 0)


async def test_an_rpc_that_is_held_up_holds_up_nobody_else() -> None:
    behind = TurnTaker()
    limits = CoalescerLimits(stuck_s=0.01)
    coalescer = Coalescer(behind, limits=limits, replicas=lambda: 1)
    stuck = asyncio.create_task(ask(coalescer, rows_of(1)))
    await until(lambda: coalescer.calls_in_flight == 1)
    waiting = asyncio.create_task(ask(coalescer, rows_of(2)))
    async with asyncio.timeout(5):
        while coalescer.queued_requests:  # noqa: ASYNC110 - for the lane's own timer
            await asyncio.sleep(0.001)
    calls = coalescer.calls_in_flight
    for _ in range(2):
        behind.turns.release()

    assert calls == 2
    assert [await stuck, await waiting] == [[2.0], [4.0]]


async def test_close_cancels_what_is_in_flight() -> None:
    behind = predictors()
    behind.gate.clear()
    coalescer = Coalescer(behind)
    task = asyncio.create_task(ask(coalescer, rows_of(1)))
    await until(lambda: len(behind.calls) == 1)
    await coalescer.close()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_reply_keeps_its_engine() -> None:
    behind = predictors()
    reply: PredictReply = await Coalescer(behind).predict(
        version_ref(), SIGNATURE, "predict", rows_of(1), timeout_s=1, request_id="r1"
    )

    assert reply.engine == "native"
    assert behind.calls[0].request_ids == ("r1",)

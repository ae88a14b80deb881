import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cluster.contracts import Batch
from cluster.errors import DeadlineExceeded
from serve_app.registry.resolution import ResolvedVersion
from serve_app.result_cache import ResultCache
from tests.unit.serve_app.predicting import resolved, rows_of, signature

pytestmark = pytest.mark.anyio
SLOW = {"predict": 0.01, "predict_proba": 0.01}
VERSION = resolved("m", signature(), cost_per_row_s=SLOW)
BATCH = rows_of(1.0)


class Model:
    """Counts how often it is asked; can be held back."""

    def __init__(self) -> None:
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        self.failure: BaseException | None = None

    async def __call__(self) -> NDArray[Any]:
        self.calls += 1
        self.asked.set()
        mine, failure = self.calls, self.failure
        await self.gate.wait()
        if failure is not None:
            raise failure
        return np.array([float(mine)])


async def ask(
    cache: ResultCache,
    model: Model,
    batch: Batch = BATCH,
    version: ResolvedVersion = VERSION,
    method: Any = "predict",
) -> list[float]:
    answer: list[float] = (await cache.find_or_compute(version, method, batch, model)).tolist()
    return answer


async def test_the_same_input_is_asked_once() -> None:
    cache, model = ResultCache(max_bytes=2**20), Model()

    assert [await ask(cache, model), await ask(cache, model)] == [[1.0], [1.0]]
    assert await ask(cache, model, rows_of(1.0)) == [1.0]


@pytest.mark.parametrize(
    "other",
    [
        {"batch": rows_of(2.0)},
        {"batch": rows_of(1.0, 1.0)},
        {"version": resolved("m", signature(), version=2, cost_per_row_s=SLOW)},
        {"version": resolved("n", signature(), cost_per_row_s=SLOW)},
        {"method": "predict_proba"},
    ],
)
async def test_any_difference_is_another_question(other: dict[str, Any]) -> None:
    cache, model = ResultCache(max_bytes=2**20), Model()
    await ask(cache, model)

    assert await ask(cache, model, **other) == [2.0]


def column(*values: object) -> Batch:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return Batch(rows=len(values), columns=(array,))


@pytest.mark.parametrize(
    "batches",
    [
        [column(1), column(1.0), column(True), column("1"), column(None), column("None")],
        [column("a", "bc"), column("ab", "c"), column("abc")],
        [
            Batch(rows=2, columns=(np.array([1.0, 2.0]),)),
            Batch(rows=2, columns=(np.array([1, 2]),)),
        ],
        [column("é"), column("\udce9")],
    ],
)
async def test_values_that_look_alike_are_told_apart(batches: Sequence[Batch]) -> None:
    cache, model = ResultCache(max_bytes=2**20), Model()

    answers = [await ask(cache, model, batch) for batch in batches]
    assert answers == [[float(n)] for n in range(1, len(batches) + 1)]


async def test_a_quick_version_is_not_looked_up() -> None:
    cache, model = ResultCache(max_bytes=2**20), Model()
    quick = resolved("m", signature(), cost_per_row_s={"predict": 1e-5})
    await ask(cache, model, version=quick)

    assert await ask(cache, model, version=quick) == [2.0]
    assert cache.size_bytes == 0


async def test_requests_at_once_share_one_call() -> None:
    cache, model = ResultCache(max_bytes=2**20), Model()
    model.gate.clear()
    asked = [asyncio.create_task(ask(cache, model)) for _ in range(5)]
    await model.asked.wait()
    model.gate.set()

    assert await asyncio.gather(*asked) == [[1.0]] * 5
    assert model.calls == 1


@pytest.mark.parametrize("failure", [DeadlineExceeded("late"), asyncio.CancelledError()])
async def test_the_failure_of_one_is_not_the_answer_of_another(failure: BaseException) -> None:
    cache, model = ResultCache(max_bytes=2**20), Model()
    model.gate.clear()
    model.failure = failure
    first = asyncio.create_task(ask(cache, model))
    await model.asked.wait()
    model.failure = None
    second = asyncio.create_task(ask(cache, model))
    await asyncio.sleep(0)
    model.gate.set()

    assert await second == [2.0]
    with pytest.raises(type(failure)):
        await first
    assert await ask(cache, model) == [3.0]


async def test_it_never_holds_more_than_its_bytes() -> None:
    cache, model = ResultCache(max_bytes=16 * 500), Model()
    for number in range(200):
        await ask(cache, model, rows_of(float(number)))

    assert 0 < cache.size_bytes <= 16 * 500
    assert await ask(cache, model, rows_of(199.0)) == [200.0]
    assert await ask(cache, model, rows_of(0.0)) == [201.0]


@pytest.mark.parametrize("max_bytes", [0, 1000])
async def test_no_room_means_no_cache(max_bytes: int) -> None:
    cache, model = ResultCache(max_bytes=max_bytes), Model()
    await ask(cache, model)

    assert await ask(cache, model) == [2.0]


async def test_a_kept_answer_cannot_be_written_to() -> None:
    cache, model = ResultCache(max_bytes=2**20), Model()
    values = await cache.find_or_compute(VERSION, "predict", BATCH, model)

    with pytest.raises(ValueError, match="read-only"):
        values += 1

"""The model cache with models that weigh what they say."""

import asyncio
from dataclasses import dataclass

import pytest

from cluster.errors import ModelUnavailable
from deployments.model_cache import ModelCache

pytestmark = pytest.mark.anyio


@dataclass
class Model:
    """Stands for a loaded model."""

    name: str
    memory_bytes: int = 10


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Loads:
    """Counts loads, and holds them back or fails them when told."""

    def __init__(self) -> None:
        self.count = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()
        self.error: ModelUnavailable | None = None
        self.memory_bytes = 10

    async def __call__(self) -> Model:
        self.count += 1
        self.begun.set()
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Model(f"load {self.count}", self.memory_bytes)


async def _use(cache: ModelCache[Model], key: str, loads: Loads) -> Model:
    async with cache.pinned(key, loads) as model:
        return model


async def test_a_model_is_loaded_once_and_kept() -> None:
    cache, loads = ModelCache[Model](100), Loads()
    first = await _use(cache, "a", loads)

    assert await _use(cache, "a", loads) is first
    assert (loads.count, cache.used_bytes) == (1, 10)


async def test_a_crowd_shares_one_load() -> None:
    cache, loads = ModelCache[Model](100), Loads()
    loads.gate.clear()
    crowd = [asyncio.ensure_future(_use(cache, "a", loads)) for _ in range(50)]
    await loads.begun.wait()
    loads.gate.set()
    models = await asyncio.gather(*crowd)

    assert loads.count == 1
    assert len({id(model) for model in models}) == 1


async def test_a_caller_that_gives_up_does_not_end_the_load() -> None:
    cache, loads = ModelCache[Model](100), Loads()
    loads.gate.clear()
    impatient = asyncio.ensure_future(_use(cache, "a", loads))
    patient = asyncio.ensure_future(_use(cache, "a", loads))
    await loads.begun.wait()
    impatient.cancel()
    loads.gate.set()

    assert (await patient).name == "load 1"
    assert impatient.cancelled() or impatient.cancelling()


async def test_the_least_recently_used_goes_first() -> None:
    cache, loads = ModelCache[Model](30), Loads()
    for key in ("a", "b", "c", "a", "d"):
        await _use(cache, key, loads)

    assert [key for key in "abcd" if key in cache] == ["a", "c", "d"]
    assert cache.used_bytes == 30


async def test_a_model_in_use_is_never_evicted_and_goes_when_it_is_free() -> None:
    cache, loads = ModelCache[Model](20), Loads()
    async with cache.pinned("a", loads), cache.pinned("b", loads):
        await _use(cache, "c", loads)

        assert "a" in cache
        assert "b" in cache
    await _use(cache, "d", loads)

    assert cache.used_bytes <= 20


async def test_a_model_beyond_the_budget_is_refused() -> None:
    cache, loads = ModelCache[Model](5), Loads()
    with pytest.raises(ModelUnavailable, match="PREDICTOR_CACHE_BYTES"):
        await _use(cache, "a", loads)

    assert (len(cache), cache.used_bytes) == (0, 0)


async def test_a_failure_is_remembered_for_a_moment_only() -> None:
    clock = Clock()
    cache, loads = ModelCache[Model](100, clock=clock, failure_s=1.0), Loads()
    loads.error = ModelUnavailable("away", retry_after_s=2)
    for _ in range(3):
        with pytest.raises(ModelUnavailable, match="away") as caught:
            await _use(cache, "a", loads)
        assert caught.value.retry_after_s == 2
    assert loads.count == 1

    clock.now_s += 1.1
    loads.error = None
    assert (await _use(cache, "a", loads)).name == "load 2"


async def test_evict_forgets_what_nobody_else_can_see() -> None:
    cache, loads = ModelCache[Model](100), Loads()
    async with cache.pinned("a", loads) as model:
        cache.evict("a")
        cache.evict("a")

        assert model.name == "load 1"
    assert ("a" in cache, cache.used_bytes) == (False, 0)

"""The half-lanes rule."""

import asyncio

import anyio
import pytest

from cluster.errors import Overloaded
from deployments.lanes import SLOW_S, Lanes

pytestmark = pytest.mark.anyio


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Caller:
    """Holds a lane until released."""

    def __init__(self, lanes: Lanes, key: str) -> None:
        self.is_running = False
        self._release = asyncio.Event()
        self.task = asyncio.ensure_future(self._hold(lanes, key))

    async def _hold(self, lanes: Lanes, key: str) -> None:
        async with lanes.lane(key):
            self.is_running = True
            await self._release.wait()
        self.is_running = False

    async def release(self) -> None:
        self._release.set()
        await self.task


async def test_one_version_holds_at_most_half() -> None:
    lanes = Lanes(4)
    callers = [Caller(lanes, "slow") for _ in range(3)]
    await anyio.wait_all_tasks_blocked()
    assert [caller.is_running for caller in callers] == [True, True, False]

    other = Caller(lanes, "other")
    await anyio.wait_all_tasks_blocked()
    assert other.is_running
    for caller in (*callers[:2], other):
        await caller.release()
    await anyio.wait_all_tasks_blocked()
    assert callers[2].is_running
    await callers[2].release()
    assert lanes.busy == 0


async def test_a_waiter_is_passed_by_those_whose_half_is_free() -> None:
    lanes = Lanes(2)
    first, waiting = Caller(lanes, "a"), Caller(lanes, "a")
    other = Caller(lanes, "b")
    await anyio.wait_all_tasks_blocked()

    assert (first.is_running, waiting.is_running, other.is_running) == (True, False, True)
    await first.release()
    await anyio.wait_all_tasks_blocked()
    assert waiting.is_running
    for caller in (waiting, other):
        await caller.release()


async def test_a_version_with_long_calls_is_told_to_come_back() -> None:
    clock = Clock()
    lanes = Lanes(2, clock=clock)
    slow = Caller(lanes, "slow")
    await anyio.wait_all_tasks_blocked()
    clock.now_s += SLOW_S + 0.1

    with pytest.raises(Overloaded, match="take long") as caught:
        async with lanes.lane("slow"):
            pass
    assert caught.value.retry_after_s == 2
    async with lanes.lane("other"):
        assert lanes.busy == 2
    await slow.release()


async def test_a_waiter_that_gives_up_frees_its_turn() -> None:
    lanes = Lanes(1)
    first, second, third = (Caller(lanes, key) for key in ("a", "b", "c"))
    await anyio.wait_all_tasks_blocked()
    second.task.cancel()
    await first.release()
    await anyio.wait_all_tasks_blocked()

    assert third.is_running
    await third.release()
    assert lanes.busy == 0


async def test_giving_up_in_the_turn_of_being_woken_leaks_no_lane() -> None:
    lanes = Lanes(1)
    first, second = Caller(lanes, "a"), Caller(lanes, "b")
    await anyio.wait_all_tasks_blocked()
    first._release.set()
    first.task.add_done_callback(lambda _: second.task.cancel())
    await asyncio.wait({first.task, second.task})

    assert lanes.busy == 0

"""A greedy user waits; the others do not wait for them."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from cluster.errors import Overloaded
from serve_app.turns import Turns

pytestmark = pytest.mark.anyio


async def hold(turns: Turns, user_id: str, stack: AsyncExitStack) -> None:
    await stack.enter_async_context(turns.turn(user_id))


async def test_another_user_gets_a_turn_while_one_has_all_of_theirs() -> None:
    turns = Turns(total=3, per_user=2, patience_s=5)
    async with AsyncExitStack() as held:
        for _ in range(2):
            await hold(turns, "greedy", held)
        waiting = asyncio.create_task(hold(turns, "greedy", held))
        await asyncio.sleep(0)

        await hold(turns, "modest", held)

        assert not waiting.done()
        waiting.cancel()


async def test_a_turn_that_ends_goes_to_who_waits() -> None:
    turns = Turns(total=1, per_user=1, patience_s=5)
    async with AsyncExitStack() as later:
        async with turns.turn("a"):
            waiting = asyncio.create_task(hold(turns, "a", later))
            await asyncio.sleep(0)
            assert not waiting.done()

        await waiting


@pytest.mark.parametrize("user_id", ["greedy", "modest"])
async def test_patience_ends_with_a_reason_and_leaks_no_turn(user_id: str) -> None:
    turns = Turns(total=1, per_user=1, patience_s=0.01)

    async with turns.turn("greedy"):
        with pytest.raises(Overloaded) as refused:
            async with turns.turn(user_id):
                pass

    assert refused.value.retry_after_s == 5
    async with turns.turn("greedy"):
        pass
    async with turns.turn("modest"):
        pass

"""A greedy user waits; the others do not wait for them; nobody waits in vain."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from cluster.errors import Overloaded, PlatformError, QuotaExceeded
from serve_app.turns import Turns

pytestmark = pytest.mark.anyio


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def hold(turns: Turns, user_id: str, stack: AsyncExitStack, patience_s: float = 5) -> None:
    await stack.enter_async_context(turns.turn(user_id, patience_s=patience_s))


async def learn(turns: Turns, clock: Clock, turn_s: float) -> None:
    """Let one turn pass after which the next is expected to take ``turn_s``."""
    async with turns.turn("first", patience_s=5):
        clock.now_s += 0.5 + 5 * (turn_s - 0.5)


async def test_another_user_gets_a_turn_while_one_has_all_of_theirs() -> None:
    turns = Turns(total=3, per_user=2)
    async with AsyncExitStack() as held:
        for _ in range(2):
            await hold(turns, "greedy", held)
        waiting = asyncio.create_task(hold(turns, "greedy", held))
        await asyncio.sleep(0)

        await hold(turns, "modest", held)

        assert not waiting.done()
        waiting.cancel()


async def test_a_turn_that_ends_goes_to_who_waits() -> None:
    turns = Turns(total=1, per_user=1)
    async with AsyncExitStack() as later:
        async with turns.turn("a", patience_s=5):
            waiting = asyncio.create_task(hold(turns, "a", later))
            await asyncio.sleep(0)
            assert not waiting.done()

        await waiting


@pytest.mark.parametrize(
    ("user_id", "kind"),
    [
        ("greedy", QuotaExceeded),  # waits for itself
        ("modest", Overloaded),  # waits for another
    ],
)
async def test_a_wait_ends_in_time_with_a_reason_and_leaks_no_turn(
    user_id: str, kind: type[PlatformError]
) -> None:
    clock = Clock()
    turns = Turns(total=1, per_user=1, clock=clock)
    # A turn is thought to take no time, so that a wait is tried at all.
    await learn(turns, clock, 0.001)

    async with turns.turn("greedy", patience_s=5):
        with pytest.raises(kind) as refused:
            async with turns.turn(user_id, patience_s=0.05):
                pass

    assert refused.value.context["retry_after_s"] == 1
    async with turns.turn("greedy", patience_s=5):
        pass
    async with turns.turn("modest", patience_s=5):
        pass


async def test_who_would_wait_in_vain_is_told_at_once() -> None:
    clock = Clock()
    turns = Turns(total=2, per_user=2, clock=clock)
    await learn(turns, clock, 10)

    async with AsyncExitStack() as held:
        for _ in range(2):
            await hold(turns, "a", held)
        with pytest.raises(Overloaded) as everybody:
            turns.require_room("b", patience_s=19)  # a wait of 10 s, a turn of 10 s
        with pytest.raises(QuotaExceeded) as oneself:
            turns.require_room("a", patience_s=19)
        turns.require_room("b", patience_s=21)

    assert everybody.value.context["retry_after_s"] == 10
    assert oneself.value.context["retry_after_s"] == 10


async def test_a_free_turn_is_given_however_long_the_last_one_took() -> None:
    clock = Clock()
    turns = Turns(total=2, per_user=2, clock=clock)
    await learn(turns, clock, 1000)

    async with turns.turn("a", patience_s=5), turns.turn("b", patience_s=5):
        with pytest.raises(Overloaded) as refused:
            turns.require_room("c", patience_s=5)

    assert refused.value.context["retry_after_s"] == 60

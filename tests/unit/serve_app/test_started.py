"""A coroutine begun at once ends as one that was awaited would."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from serve_app.started import Started

pytestmark = pytest.mark.anyio


async def waits(*futures: "asyncio.Future[int]") -> int:
    return sum([await future for future in futures])


async def test_one_that_never_waits_is_done_at_once() -> None:
    started = Started(waits())

    assert started.is_done
    assert started.result == 0
    assert await started == 0


async def test_one_that_waits_goes_on_as_often_as_it_has_to() -> None:
    futures = [asyncio.get_running_loop().create_future() for _ in range(3)]
    started = Started(waits(*futures))
    for number, future in enumerate(futures):
        asyncio.get_running_loop().call_soon(future.set_result, number)

    assert not started.is_done
    assert await started == 3


async def test_an_error_before_the_first_wait_is_raised_at_once() -> None:
    async def fails() -> None:
        raise ValueError("early")

    with pytest.raises(ValueError, match="early"):
        Started(fails())


async def test_an_error_that_it_waits_for_is_its_own_to_handle() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def mends() -> str:
        try:
            await future
        except ValueError as error:
            return f"mended: {error}"
        return "whole"

    started = Started(mends())
    future.set_exception(ValueError("late"))

    assert await started == "mended: late"


@asynccontextmanager
async def noting(ended: list[str]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await asyncio.sleep(0)
        ended.append("closed")


async def test_a_cancellation_reaches_what_it_holds_open() -> None:
    ended: list[str] = []

    async def holds() -> None:
        async with noting(ended):
            await asyncio.Event().wait()

    async def answer() -> None:
        await Started(holds())

    task = asyncio.create_task(answer())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ended == ["closed"]


async def test_timeouts_inside_it_hold() -> None:
    async def hurries() -> str:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.Event().wait()
        except TimeoutError:
            return "in time"
        return "late"

    assert await Started(hurries()) == "in time"

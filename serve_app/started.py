"""A coroutine run up to its first wait, so that one that never waits costs no task."""

from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Started(Generic[T]):
    """
    ``coroutine``, begun at once in the present task; awaiting it gives its result.

    What Python 3.12 calls an eager task, without a task of its own: it is awaited once, and in the
    task that began it unless all it waits for is a future.  An error before its first wait is
    raised here.
    """

    __slots__ = ("_coroutine", "_result", "_waits_for", "is_done")

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._result: Any = None
        self._waits_for: Any = None
        self.is_done = False
        """Whether it came to its end without waiting."""
        try:
            self._waits_for = coroutine.send(None)
        except StopIteration as ended:
            self.is_done, self._result = True, ended.value

    @property
    def result(self) -> T:
        """What it returned; of one that is done."""
        result: T = self._result
        return result

    def __await__(self) -> Generator[Any, Any, T]:
        """Wait for the rest."""
        if self.is_done:
            return self.result
        waits_for = self._waits_for
        while True:
            resume: Callable[[], Any]
            try:
                resume = partial(self._coroutine.send, (yield waits_for))
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's to handle
                resume = partial(self._coroutine.throw, error)
            try:
                waits_for = resume()
            except StopIteration as ended:
                result: T = ended.value
                return result

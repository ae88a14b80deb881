"""Something done again and again while a test does something else."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def repeated(call: Callable[[], T], *, pause_s: float = 0.0) -> Iterator[list[T]]:
    """What ``call`` returned, each time, while the block lasts."""
    is_over = threading.Event()
    results: list[T] = []

    def run() -> None:
        while not is_over.wait(pause_s):
            results.append(call())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield results
    finally:
        is_over.set()
        thread.join()

"""
Loaded models of one Predictor: bounded by measured bytes, least recently used goes first.

Loads of one model are one load; a model in use is never evicted.  Single event loop, no locks.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from cluster.errors import ModelUnavailable, PlatformError
from cluster.metrics import MODEL_EVICTIONS, MODEL_LOADS

#: A load that failed is answered from memory for a moment, so that a crowd fails once.
FAILURE_S = 1.0
_MIB = 1024 * 1024


class Measured(Protocol):
    """What can be cached: it knows its own size."""

    @property
    def memory_bytes(self) -> int:
        """Bytes that it keeps in memory."""
        ...


ModelT = TypeVar("ModelT", bound=Measured)


@dataclass(kw_only=True, eq=False)
class _Entry(Generic[ModelT]):
    key: str
    model: ModelT
    size_bytes: int
    pins: int = 0


class ModelCache(Generic[ModelT]):
    """Models by key, at most ``budget_bytes`` of them unless more are in use at once."""

    def __init__(
        self,
        budget_bytes: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        failure_s: float = FAILURE_S,
    ) -> None:
        self._budget_bytes = budget_bytes
        self._clock = clock
        self._failure_s = failure_s
        self._entries: OrderedDict[str, _Entry[ModelT]] = OrderedDict()
        self._loads: dict[str, asyncio.Task[_Entry[ModelT]]] = {}
        self._failures: OrderedDict[str, tuple[float, PlatformError]] = OrderedDict()
        self.used_bytes = 0

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    @asynccontextmanager
    async def pinned(
        self, key: str, load: Callable[[], Awaitable[ModelT]]
    ) -> AsyncIterator[ModelT]:
        """
        The model, loaded if need be, and kept while the ``async with`` lasts.

        A caller that gives up does not end the load: others may wait for it, or come next.

        Raises:
            PlatformError: What ``load`` raised, now or a moment ago.
            ModelUnavailable: The model alone exceeds the budget.
        """
        entry = self._entries.get(key)
        if entry is None:
            entry = await self._loaded(key, load)
        elif key in self._entries:
            self._entries.move_to_end(key)
        entry.pins += 1
        try:
            yield entry.model
        finally:
            entry.pins -= 1
            self._shrink()

    def evict(self, key: str) -> None:
        """Forget the model; those that use it now keep it until they are done."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.used_bytes -= entry.size_bytes

    async def _loaded(self, key: str, load: Callable[[], Awaitable[ModelT]]) -> _Entry[ModelT]:
        if (failure := self._failures.get(key)) is not None:
            until_s, error = failure
            if self._clock() < until_s:
                raise type(error)(error.message, **error.context)
            del self._failures[key]
        task = self._loads.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._load(key, load))
            # A load that nobody waits for any more may fail without a complaint of the loop.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._loads[key] = task
        return await asyncio.shield(task)

    async def _load(self, key: str, load: Callable[[], Awaitable[ModelT]]) -> _Entry[ModelT]:
        try:
            model = await load()
            entry = _Entry(key=key, model=model, size_bytes=model.memory_bytes)
            self._require_fit(entry)
            self._entries[key] = entry
            self.used_bytes += entry.size_bytes
            self._shrink(spared=entry)
            MODEL_LOADS.record(outcome="loaded")
            return entry
        except PlatformError as error:
            MODEL_LOADS.record(outcome=error.public_code)
            self._failures[key] = (self._clock() + self._failure_s, error)
            self._forget_old_failures()
            raise
        finally:
            del self._loads[key]

    def _require_fit(self, entry: _Entry[ModelT]) -> None:
        if entry.size_bytes > self._budget_bytes:
            raise ModelUnavailable(
                f"the model takes {entry.size_bytes // _MIB} MiB of memory, more than the "
                f"{self._budget_bytes // _MIB} MiB of one Predictor: upload a smaller one, or have "
                "the operator raise PREDICTOR_CACHE_BYTES"
            )

    def _shrink(self, spared: _Entry[ModelT] | None = None) -> None:
        if self.used_bytes <= self._budget_bytes:
            return
        for entry in list(self._entries.values()):
            if entry.pins == 0 and entry is not spared:
                self.evict(entry.key)
                MODEL_EVICTIONS.record()
                if self.used_bytes <= self._budget_bytes:
                    return

    def _forget_old_failures(self) -> None:
        now_s = self._clock()
        while self._failures and next(iter(self._failures.values()))[0] <= now_s:
            self._failures.popitem(last=False)

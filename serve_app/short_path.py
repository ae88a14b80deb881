"""
Answers by small compiled models in this process: numpy over checked arrays, no unpickling, no hop.

A version's arrays are asked of the Loader in the background when it is first called; until they
are there, and wherever they are not to be had, its requests go to a Predictor, which answers the
same.  Kept by the digest of the version's bytes, so that no alias can mix versions.
"""

import asyncio
import contextlib
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.contracts import Batch, Method, VersionRef
from cluster.errors import PlatformError
from cluster.metrics import CACHE_LOOKUPS
from deployments.engines.compiled import SHORT_PATH_COST_S, CompiledModel
from deployments.engines.forest import FEW_TREES, Forest
from deployments.engines.trees import TreesHead
from serve_app.ports import Loaders
from serve_app.registry.resolution import ResolvedVersion

logger = logging.getLogger(__name__)

#: Versions whose arrays are fetched at a time; others wait for a later request.
MAX_LOADS = 4
#: After a failure a version is left to the Predictors for so long; seconds.
RETRY_S = 30.0
#: And for so long where it has no compiled form, or one that is too large or too slow.
UNFIT_S = 600.0
MAX_REFUSED = 20_000
#: Rows by which the cost of a further row is measured.
_MEASURED_ROWS = 65
#: Levels that a loop over few trees may walk; its time hangs on the row, so none measures it.
_MAX_LOOPED_LEVELS = 1000
Answer = Callable[[Batch], NDArray[Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kept:
    """A loaded model: for each method its answer and the most rows under the cost bound."""

    answers: Mapping[str, tuple[Answer, int]]
    name: str
    size_bytes: int


class CompiledModels:
    """
    The short path of one ingress replica, used on its event loop alone.

    Args:
        loaders: Where the arrays come from.
        max_bytes: Memory that all kept models may take together.
        cost_s: A request that is expected to cost more goes to a Predictor.
        clock: Of monotonic seconds, for the pauses after failures.
    """

    def __init__(
        self,
        loaders: Loaders,
        *,
        max_bytes: int,
        cost_s: float = SHORT_PATH_COST_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loaders = loaders
        self._max_bytes = max_bytes
        self._cost_s = cost_s
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._loads: dict[str, asyncio.Task[None]] = {}
        #: Digest -> when it may be asked for again.
        self._refused: dict[str, float] = {}
        self.size_bytes = 0
        """Of all kept models."""

    def find_engine(self, resolved: ResolvedVersion, method: Method, rows: int) -> Answer | None:
        """What answers ``rows`` rows here and now, or ``None``: then a Predictor does."""
        ref = resolved.ref
        kept = self._kept.get(ref.sha256)
        if kept is None:
            self._consider(resolved, method)
            return None
        found = kept.answers.get(method)
        if found is None or rows > found[1] or ref.engines.get(method) != kept.name:
            return None
        self._kept.move_to_end(ref.sha256)
        return found[0]

    @property
    def loading(self) -> tuple[asyncio.Task[None], ...]:
        """Loads under way."""
        return tuple(self._loads.values())

    async def close(self) -> None:
        """End the loads under way."""
        for task in self.loading:
            task.cancel()
        await asyncio.gather(*self.loading, return_exceptions=True)

    def _consider(self, resolved: ResolvedVersion, method: Method) -> None:
        ref = resolved.ref
        if ref.engines.get(method) not in ("linear", "trees") or ref.sha256 in self._loads:
            return
        # Measured at vetting, perhaps on a busy machine: twice the bound is worth a look.
        if resolved.cost_per_row_s.get(method, 0.0) > 2 * self._cost_s:
            return
        if len(self._loads) >= MAX_LOADS or self._clock() < self._refused.get(ref.sha256, 0.0):
            return
        load = asyncio.get_running_loop().create_task(self._load(ref))
        self._loads[ref.sha256] = load
        # Not in the task itself: one that is cancelled before it begins never gets there.
        load.add_done_callback(lambda _: self._loads.pop(ref.sha256, None))

    async def _load(self, ref: VersionRef) -> None:
        pause_s = RETRY_S
        try:
            content = await self._loaders.fetch_compiled(ref.sha256, ref.size_bytes)
            kept = await asyncio.to_thread(_load, content, self._cost_s) if content else None
            if kept is not None and kept.size_bytes <= self._max_bytes:
                self._keep(ref.sha256, kept)
                return
            pause_s = UNFIT_S
        except PlatformError as error:
            logger.warning("no short path for %s: %s", ref.key, error.message)
        except Exception:
            # Whatever the arrays hold, the version goes on through the Predictors.
            logger.exception("no short path for %s", ref.key)
        if len(self._refused) >= MAX_REFUSED:
            self._refused.clear()
        self._refused[ref.sha256] = self._clock() + pause_s

    def _keep(self, sha256: str, kept: _Kept) -> None:
        CACHE_LOOKUPS.record(cache="short_path", outcome="load")
        self._kept[sha256] = kept
        self.size_bytes += kept.size_bytes
        while self.size_bytes > self._max_bytes:
            _, dropped = self._kept.popitem(last=False)
            self.size_bytes -= dropped.size_bytes
            CACHE_LOOKUPS.record(cache="short_path", outcome="eviction")


def _load(content: bytes, cost_s: float) -> _Kept | None:
    """The model with its costs as this process has them; ``None`` where none is low enough."""
    model = CompiledModel.load(content)
    head = model.head
    if isinstance(head, TreesHead) and _is_looped_too_long(head.forest):
        return None
    answers: dict[str, tuple[Answer, int]] = {}
    for method in sorted(model.methods):
        answer = partial(model.run, method)
        rows = _most_rows(answer, model.width, cost_s)
        if rows:
            answers[method] = (answer, rows)
    if not answers:
        return None
    return _Kept(answers=answers, name=model.name, size_bytes=model.memory_bytes)


def _is_looped_too_long(forest: Forest) -> bool:
    return forest.trees <= FEW_TREES and forest.trees * forest.depth > _MAX_LOOPED_LEVELS


def _most_rows(answer: Answer, width: int, cost_s: float) -> int:
    """Rows that ``answer`` gives within ``cost_s``; 0 where that is too little for one."""
    one_s = _seconds(answer, Batch(rows=1, matrix=np.zeros((1, width))))
    if one_s > cost_s:
        return 0
    many = Batch(rows=_MEASURED_ROWS, matrix=np.zeros((_MEASURED_ROWS, width)))
    further_s = max((_seconds(answer, many) - one_s) / (_MEASURED_ROWS - 1), 1e-9)
    return 1 + math.floor((cost_s - one_s) / further_s)


def _seconds(answer: Answer, batch: Batch) -> float:
    """Processor time of one call, the least of several: what the machine does else is left out."""
    least_s = math.inf
    for _ in range(7):
        started_s = time.thread_time()
        # A model may refuse zeros; refusing takes the way of an answer.
        with contextlib.suppress(PlatformError):
            answer(batch)
        least_s = min(least_s, time.thread_time() - started_s)
    return least_s

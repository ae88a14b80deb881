"""
Answers of slow versions, kept in this process: the same input of the same version is asked once.

Predictions are pure, so an answer holds as long as the version; the version's digest is part of the
key, and nothing is ever invalidated, only dropped by bytes, the longest unused first.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cluster.contracts import Batch, Method
from cluster.metrics import CACHE_LOOKUPS
from serve_app.registry.resolution import ResolvedVersion

#: Below, a look-up and a copy save too little for the memory they take; seconds.
MIN_COST_S = 1e-3
#: Inputs above this many bytes cost more to digest than they are likely to come again.
MAX_INPUT_BYTES = 256 * 1024
#: One answer may take this share of the cache.
_LARGEST_SHARE = 16
#: Beside its values an entry has a key, a place and an array's header.
_ENTRY_BYTES = 400
_OBJECT_BYTES = 64
Compute = Callable[[], Awaitable[NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class _Kept:
    values: NDArray[Any]
    size_bytes: int


class ResultCache:
    """
    Answers by version, method and input; used on one event loop alone.

    Args:
        max_bytes: Memory of all answers together; 0 keeps none.
        min_cost_s: Versions whose row costs less by measurement are not looked up at all.
    """

    def __init__(self, *, max_bytes: int, min_cost_s: float = MIN_COST_S) -> None:
        self._max_bytes = max_bytes
        self._min_cost_s = min_cost_s
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._flights: dict[bytes, asyncio.Future[NDArray[Any]]] = {}
        self.size_bytes = 0
        """Of all kept answers."""

    async def find_or_compute(
        self, resolved: ResolvedVersion, method: Method, batch: Batch, compute: Compute, /
    ) -> NDArray[Any]:
        """
        The kept answer to this very batch, that of a request under way, or ``compute``'s.

        Raises:
            PlatformError: What ``compute`` raised, which is kept for nobody.
        """
        cost_s = resolved.cost_per_row_s.get(method, 0.0)
        key = None if cost_s < self._min_cost_s else self._key(resolved, method, batch)
        if key is None:
            return await compute()
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            CACHE_LOOKUPS.record(cache="results", outcome="hit")
            return kept.values
        flight = self._flights.get(key)
        if flight is not None:
            CACHE_LOOKUPS.record(cache="results", outcome="joined")
            return await self._join(flight, compute)
        CACHE_LOOKUPS.record(cache="results", outcome="miss")
        return await self._fly(key, compute)

    async def _join(self, flight: asyncio.Future[NDArray[Any]], compute: Compute) -> NDArray[Any]:
        # Not the other's failure: its deadline and its cancellation were its own.
        await asyncio.wait({flight})
        if flight.cancelled() or flight.exception() is not None:
            return await compute()
        return flight.result()

    async def _fly(self, key: bytes, compute: Compute) -> NDArray[Any]:
        flight: asyncio.Future[NDArray[Any]] = asyncio.get_running_loop().create_future()
        self._flights[key] = flight
        try:
            values = await compute()
        except BaseException:
            flight.cancel()
            raise
        else:
            flight.set_result(values)
            self._keep(key, values)
            return values
        finally:
            del self._flights[key]

    def _keep(self, key: bytes, values: NDArray[Any]) -> None:
        size_bytes = _ENTRY_BYTES + _size_bytes(values)
        if size_bytes * _LARGEST_SHARE > self._max_bytes:
            return
        # Shared from now on: whoever would write into it is to fail, not to change an answer.
        values.flags.writeable = False
        self._kept[key] = _Kept(values, size_bytes)
        self.size_bytes += size_bytes
        while self.size_bytes > self._max_bytes:
            _, dropped = self._kept.popitem(last=False)
            self.size_bytes -= dropped.size_bytes

    def _key(self, resolved: ResolvedVersion, method: str, batch: Batch) -> bytes | None:
        """A digest of everything that the answer hangs on; ``None`` for inputs too large."""
        if self._max_bytes == 0 or batch.size_bytes > MAX_INPUT_BYTES:
            return None
        ref = resolved.ref
        digest = blake2b(f"{ref.sha256}|{ref.key}|{method}|".encode(), digest_size=24)
        if batch.matrix is not None:
            digest.update(b"m%d|" % batch.rows)
            digest.update(np.ascontiguousarray(batch.matrix).data)
            return digest.digest()
        for column in batch.columns or ():
            digest.update(f"{column.dtype.str}{column.shape}|".encode())
            digest.update(_canonical(column))
        return digest.digest()


def _canonical(column: NDArray[Any]) -> bytes:
    if column.dtype.kind != "O":
        return column.tobytes()
    # Types and lengths as well: 1, 1.0, True and "1" are different inputs.
    parts = [f"{type(value).__name__}:{value!r}" for value in column]
    return "".join(f"{len(part)}:{part}" for part in parts).encode("utf-8", "surrogatepass")


def _size_bytes(values: NDArray[Any]) -> int:
    if values.dtype.kind != "O":
        return int(values.nbytes)
    return sum(_OBJECT_BYTES + len(repr(value)) for value in values)

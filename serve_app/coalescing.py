"""
Requests for the same version and method that arrive while an RPC is in flight travel in the next.

No request waits for company: an idle lane sends at once, a busy one sends what has gathered when
its RPC returns, and a queue that ages opens a further RPC, up to the replica count.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from cluster.contracts import (
    Batch,
    Method,
    PredictCall,
    PredictReply,
    Signature,
    VersionRef,
    concatenate,
)
from cluster.errors import (
    DeadlineExceeded,
    Overloaded,
    PlatformError,
    PredictionFailed,
)
from cluster.metrics import BATCH_ROWS
from cluster.tracing import batch_span
from serve_app.batch_predictor import BatchPredictor
from serve_app.lanes import CoalescerLimits, Lane, LaneKey, Pending, deliver, layout_of
from serve_app.row_costs import RowCosts


class Coalescer:
    """Gathers requests into RPCs; one lane for each (version, method, column layout)."""

    def __init__(
        self,
        predictor: BatchPredictor,
        *,
        limits: CoalescerLimits | None = None,
        replicas: Callable[[], int] = lambda: 2,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._predictor = predictor
        self._limits = limits or CoalescerLimits()
        self._replicas = replicas
        self._clock = clock
        self._lanes: dict[LaneKey, Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._queued_bytes = 0
        self.costs = RowCosts()
        """What the engines needed for the batches that came back."""

    async def predict(
        self,
        version: VersionRef,
        signature: Signature,
        method: Method,
        batch: Batch,
        *,
        timeout_s: float,
        request_id: str = "",
    ) -> PredictReply:
        """
        The answer to ``batch``, the same as if it had travelled alone.

        Raises:
            DeadlineExceeded: ``timeout_s`` passed; the request left its queue.
            Overloaded: Too much waits already; ``retry_after_s`` is when it will be gone.
            PlatformError: What the predictor raised for this request.
        """
        lane = self._lane(version, signature, method, batch)
        pending = self._enqueue(lane, batch, timeout_s, request_id)
        try:
            return await pending.future
        finally:
            lane.open -= 1
            pending.expiry.cancel()
            if pending.is_queued:
                lane.queue.remove(pending)
                self._dequeued(pending)
                self._retire(lane)

    @property
    def lane_count(self) -> int:
        """Lanes that hold or carry a request."""
        return len(self._lanes)

    @property
    def queued_requests(self) -> int:
        """Requests that wait for an RPC."""
        return sum(len(lane.queue) for lane in self._lanes.values())

    @property
    def calls_in_flight(self) -> int:
        """RPCs on their way."""
        return sum(lane.runners for lane in self._lanes.values())

    @property
    def queue_age_s(self) -> float:
        """How long the request that waits longest has waited; 0 where none does."""
        heads = [lane.queue[0].enqueued_at for lane in self._lanes.values() if lane.queue]
        return self._clock() - min(heads) if heads else 0.0

    async def close(self) -> None:
        """Cancel what is in flight; callers see a cancellation."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _lane(
        self, version: VersionRef, signature: Signature, method: Method, batch: Batch
    ) -> Lane:
        key = (version.key, method, layout_of(batch))
        lane = self._lanes.get(key)
        if lane is None:
            lane = Lane(key=key, version=version, signature=signature, method=method)
            self._lanes[key] = lane
        return lane

    def _enqueue(self, lane: Lane, batch: Batch, timeout_s: float, request_id: str) -> Pending:
        is_too_much = self._queued_bytes + batch.size_bytes > self._limits.max_queued_bytes
        if is_too_much or lane.is_full(self._limits):
            self._retire(lane)
            raise Overloaded(
                "too many predictions wait already: try again after the time in Retry-After",
                retry_after_s=lane.drain_s(),
            )
        loop = asyncio.get_running_loop()
        now = self._clock()
        pending = Pending(
            batch=batch,
            enqueued_at=now,
            deadline=now + timeout_s,
            request_id=request_id,
            future=loop.create_future(),
        )
        pending.expiry = loop.call_later(timeout_s, pending.expire)
        lane.queue.append(pending)
        lane.open += 1
        self._queued_bytes += pending.size_bytes
        self._pull(lane, loop)
        return pending

    def _dequeued(self, pending: Pending) -> None:
        pending.is_queued = False
        self._queued_bytes -= pending.size_bytes

    def _pull(self, lane: Lane, loop: asyncio.AbstractEventLoop) -> None:
        """Start an RPC if the lane may have one more, else look again when its queue is older."""
        if not lane.queue:
            return
        limits, replicas = self._limits, max(1, self._replicas())
        if lane.runners < lane.allowed_runners(self._clock(), replicas=replicas, limits=limits):
            lane.runners += 1
            task = loop.create_task(self._run(lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif lane.growth is None:
            delay_s = limits.growth_age_s if lane.runners < replicas else limits.stuck_s
            lane.growth = loop.call_later(delay_s, self._grow, lane, loop)

    def _grow(self, lane: Lane, loop: asyncio.AbstractEventLoop) -> None:
        lane.growth = None
        self._pull(lane, loop)

    def _retire(self, lane: Lane) -> None:
        """Forget a lane that neither holds nor carries anything."""
        if lane.is_idle and self._lanes.get(lane.key) is lane:
            lane.stop_growing()
            del self._lanes[lane.key]

    async def _run(self, lane: Lane) -> None:
        """Send what has gathered, and again, until nothing waits."""
        try:
            while taken := self._take(lane):
                await self._send(lane, taken)
        finally:
            lane.runners -= 1
            self._retire(lane)

    def _take(self, lane: Lane) -> list[Pending]:
        taken: list[Pending] = []
        rows = size_bytes = 0
        while lane.queue:
            pending = lane.queue[0]
            rows += pending.batch.rows
            size_bytes += pending.size_bytes
            fits = rows <= self._limits.max_rows and size_bytes <= self._limits.max_bytes
            if taken and not fits:
                break
            lane.queue.popleft()
            self._dequeued(pending)
            taken.append(pending)
        return taken

    async def _send(self, lane: Lane, taken: Sequence[Pending]) -> None:
        waiting = [pending for pending in taken if not pending.future.done()]
        if not waiting:
            return
        try:
            reply = await self._call(lane, waiting)
        except PredictionFailed as error:
            await self._isolate(lane, waiting, error)
        except asyncio.CancelledError:
            for pending in waiting:
                pending.future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - each caller gets it; the lane must go on
            for pending in waiting:
                pending.fail(error)
        else:
            deliver(waiting, reply)

    async def _call(self, lane: Lane, waiting: Sequence[Pending]) -> PredictReply:
        started = self._clock()
        batch = concatenate([pending.batch for pending in waiting])
        BATCH_ROWS.record(batch.rows, model=lane.version.model_id)
        timeout_s = max(pending.deadline for pending in waiting) - started
        if timeout_s <= 0:
            raise DeadlineExceeded("the deadline passed before the prediction could start")
        call = PredictCall(
            version=lane.version,
            signature=lane.signature,
            method=lane.method,
            batch=batch,
            timeout_s=timeout_s,
            request_ids=tuple([pending.request_id for pending in waiting]),
        )
        traces = [pending.trace for pending in waiting]
        travelling = lane.under_way(requests=len(waiting), since_s=started, limits=self._limits)
        with travelling, batch_span(traces, lane.version, rows=batch.rows):
            reply = await self._predictor.predict(call)
        lane.note(requests=len(waiting), cost_s=reply.cost_s)
        self.costs.note(lane.version, lane.method, rows=batch.rows, seconds=reply.cost_s)
        if len(reply.values) != batch.rows:
            raise PlatformError("the model answered another number of rows than it was asked")
        return reply

    async def _isolate(
        self, lane: Lane, waiting: Sequence[Pending], error: PredictionFailed
    ) -> None:
        """Send halves of a failed batch until the guilty request stands alone."""
        if len(waiting) == 1:
            waiting[0].fail(error)
            return
        middle = len(waiting) // 2
        await self._send(lane, waiting[:middle])
        await self._send(lane, waiting[middle:])

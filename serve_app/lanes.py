"""What the coalescer keeps of one (version, method, layout): its queue, its RPCs, its pace."""

import asyncio
import copy
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from cluster.contracts import Batch, Method, PredictReply, Signature, VersionRef
from cluster.errors import DeadlineExceeded
from cluster.haproxy import Bounds
from cluster.tracing import current_trace

#: Version key, method and column dtypes.
LaneKey = tuple[str, str, tuple[int, ...] | None]
#: Weight of the newest RPC in a lane's pace.
_NEWEST = 0.2
#: What a lane that has answered nothing yet is taken to need for a request.
_FIRST_GUESS_S = 0.001
#: Of what an RPC's engine should need: twice for the calls before it, once for itself.
_OVERDUE_FACTOR = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class CoalescerLimits:
    """Bounds of what travels together and of what waits."""

    #: Rows of one RPC, a single larger request apart.
    max_rows: int = 4096
    #: Bytes of one RPC, a single larger request apart; well under gRPC's 4 MB.
    max_bytes: int = 1024 * 1024
    #: Age of the oldest waiting request at which a further RPC is opened, once for each multiple.
    growth_age_s: float = 0.01
    #: An RPC that takes so much longer than its engine's cost is held up by a replica that stands
    #: still, and another one goes in its place.
    stuck_s: float = 0.5
    #: Requests that wait in one lane.
    max_queued_requests: int = 1024
    #: Half of what HAProxy hands a replica at a time: a lane that holds more must be a quick one,
    #: or callers of one slow model would take all the places, and other models' callers wait.
    fair_requests: int = Bounds().handed // 2
    #: How soon a lane that holds more than its share is through with them.
    fair_wait_s: float = 1.0
    #: Bytes that wait in all lanes.
    max_queued_bytes: int = 256 * 1024 * 1024


class Pending:
    """One request on its way; ``future`` gets its reply."""

    __slots__ = (
        "batch",
        "deadline",
        "enqueued_at",
        "expiry",
        "future",
        "is_queued",
        "request_id",
        "size_bytes",
        "trace",
    )

    expiry: asyncio.TimerHandle

    def __init__(
        self,
        *,
        batch: Batch,
        enqueued_at: float,
        deadline: float,
        request_id: str,
        future: asyncio.Future[PredictReply],
    ) -> None:
        self.batch = batch
        self.size_bytes = batch.size_bytes
        self.enqueued_at = enqueued_at
        self.deadline = deadline
        self.request_id = request_id
        self.future = future
        self.is_queued = True
        self.trace = current_trace()

    def resolve(self, reply: PredictReply) -> None:
        """Give the caller its reply, if it still waits."""
        if not self.future.done():
            self.future.set_result(reply)

    def fail(self, error: Exception) -> None:
        """Raise a copy of ``error`` at the caller, if it still waits."""
        if not self.future.done():
            # One instance raised in many tasks would gather all their tracebacks.
            self.future.set_exception(copy.copy(error))

    def expire(self) -> None:
        """Tell the caller that its deadline passed."""
        self.fail(
            DeadlineExceeded(
                "no answer within the deadline: send fewer rows or allow more time",
                timeout_s=self.deadline - self.enqueued_at,
            )
        )


class Lane:
    """A queue and the RPCs that empty it."""

    def __init__(
        self, *, key: LaneKey, version: VersionRef, signature: Signature, method: Method
    ) -> None:
        self.key = key
        self.version = version
        self.signature = signature
        self.method = method
        self.queue: deque[Pending] = deque()
        self.runners = 0
        #: Requests that wait or travel.
        self.open = 0
        self.growth: asyncio.TimerHandle | None = None
        self._request_s = _FIRST_GUESS_S
        #: When each RPC under way will be overdue.
        self._due_s: list[float] = []

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing travels."""
        return not self.queue and not self.runners

    @contextmanager
    def under_way(
        self, *, requests: int, since_s: float, limits: CoalescerLimits
    ) -> Iterator[None]:
        """While an RPC of so many requests travels."""
        due_s = since_s + limits.stuck_s + _OVERDUE_FACTOR * requests * self._request_s
        self._due_s.append(due_s)
        try:
            yield
        finally:
            self._due_s.remove(due_s)

    def allowed_runners(self, at_s: float, *, replicas: int, limits: CoalescerLimits) -> int:
        """RPCs that may be under way: more the older the queue, up to those that are not stuck."""
        age_s = at_s - self.queue[0].enqueued_at
        stuck = sum(due_s < at_s for due_s in self._due_s)
        return min(replicas, 1 + int(age_s / limits.growth_age_s)) + min(stuck, 2 * replicas)

    def note(self, *, requests: int, cost_s: float) -> None:
        """
        Take an RPC of ``requests`` requests into the lane's pace.

        Args:
            requests: That travelled together.
            cost_s: What the engine needed for them.  Not how long the RPC took: one that a stopped
                replica held up says nothing about the next.
        """
        self._request_s += _NEWEST * (cost_s / requests - self._request_s)

    def wait_s(self) -> float:
        """Seconds until a request that came now would be answered, at the present pace."""
        return self.open * self._request_s / max(1, self.runners)

    def drain_s(self) -> float:
        """The same for whoever is told to come back: at least one."""
        return max(1.0, self.wait_s())

    def is_full(self, limits: CoalescerLimits) -> bool:
        """Whether another request must not wait here."""
        takes_others_places = (
            self.open >= limits.fair_requests and self.wait_s() > limits.fair_wait_s
        )
        return takes_others_places or len(self.queue) >= limits.max_queued_requests

    def stop_growing(self) -> None:
        """Cancel the look at the queue's age."""
        if self.growth is not None:
            self.growth.cancel()
            self.growth = None


def layout_of(batch: Batch) -> tuple[int, ...] | None:
    """
    Column dtypes, which requests must share to travel together; ``None`` for a matrix.

    Integers beside another request's strings in an untyped column would change their type, and
    with it perhaps the answer.
    """
    if batch.columns is None:
        return None
    return tuple([column.dtype.num for column in batch.columns])


def deliver(waiting: Sequence[Pending], reply: PredictReply) -> None:
    """Give each request its own rows of the reply to them all."""
    if len(waiting) == 1:
        waiting[0].resolve(reply)
        return
    start = 0
    for pending in waiting:
        stop = start + pending.batch.rows
        part = PredictReply(
            values=reply.values[start:stop],
            cost_s=reply.cost_s,
            engine=reply.engine,
            replica_id=reply.replica_id,
        )
        pending.resolve(part)
        start = stop

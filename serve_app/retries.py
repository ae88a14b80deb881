"""
Another try for predictions that a replica took down with it; predictions are pure, so it is safe.

At most two more tries after a death, one after a try that timed out with half of the deadline
left, never after the model's own error, and never more than a tenth of the traffic.  A call that a
Predictor had no place for waits here for a while: nothing was done for it, and nothing is repeated.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from cluster.contracts import PredictCall, PredictReply, VersionRef
from cluster.errors import DeadlineExceeded, Overloaded, PlatformError, ReplicaUnavailable
from serve_app.batch_predictor import BatchPredictor

MAX_TRIES = 3
#: Tries of a version whose last death is charged to it: more would spread the damage.
MAX_TRIES_WHEN_CHARGED = 2
#: The first try leaves more than half of the deadline, or its time-out could not be retried.
FIRST_TRY_SHARE = 0.45
RETRY_SHARE = 0.5
JITTER_S = (0.005, 0.050)
#: For how long a call is offered again to Predictors that have no place for it, and how often.
BUSY_PATIENCE_S = 5.0
BUSY_PAUSE_S = 0.2


class RetryBudget:
    """Allows retries of a share of the calls of the last seconds, and a few in any case."""

    def __init__(
        self,
        *,
        share: float = 0.1,
        window_s: float = 10.0,
        floor: int = 5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._share = share
        self._window_s = window_s
        self._floor = floor
        self._clock = clock
        # (second, calls, retries), oldest first: ten entries however many calls.
        self._seconds: deque[list[int]] = deque()
        self._calls = 0
        self._retries = 0

    def note_call(self) -> None:
        """Count a call, which earns a share of a retry."""
        self._newest()[1] += 1
        self._calls += 1

    def is_left(self) -> bool:
        """Whether a retry would be allowed now."""
        self._newest()
        return self._retries < max(self._floor, self._share * self._calls)

    def try_spend(self) -> bool:
        """Take one retry; False if none is left."""
        if not self.is_left():
            return False
        self._newest()[2] += 1
        self._retries += 1
        return True

    def _newest(self) -> list[int]:
        second = int(self._clock())
        while self._seconds and self._seconds[0][0] <= second - self._window_s:
            _, calls, retries = self._seconds.popleft()
            self._calls -= calls
            self._retries -= retries
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append([second, 0, 0])
        return self._seconds[-1]


class Judge(Protocol):
    """Knows which versions crash replicas; ``serve_app.trials.Trials``."""

    async def admit(self, version: VersionRef) -> None:
        """Return when the version may be called; raises ModelQuarantined."""
        ...

    async def hear(self, call: PredictCall, replica_id: str) -> None:
        """Return when a call that a replica was lost with may be tried again; raises the same."""
        ...

    def was_charged(self, version_key: str) -> bool:
        """Whether a replica crashed with the version in the last minute."""
        ...


class TrustingJudge:
    """Suspects nobody."""

    async def admit(self, version: VersionRef) -> None:
        """At once."""

    async def hear(self, call: PredictCall, replica_id: str) -> None:
        """At once."""

    def was_charged(self, version_key: str) -> bool:
        """Never."""
        return not version_key


class RetryingPredictor:
    """
    A predictor that tries again where that can help.

    Args:
        predictor: What answers; raises ReplicaUnavailable for a replica that died and
            DeadlineExceeded for a call that outlasted its ``timeout_s``.
        judge: Holds calls of a version back while it is on trial for a replica's death.
    """

    def __init__(
        self,
        predictor: BatchPredictor,
        *,
        budget: RetryBudget | None = None,
        judge: Judge | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._predictor = predictor
        self._budget = budget or RetryBudget(clock=clock)
        self._judge = judge or TrustingJudge()
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter

    async def predict(self, call: PredictCall) -> PredictReply:
        """The predictor's answer, or the last try's error."""
        self._budget.note_call()
        began_s = self._clock()
        deadline = began_s + call.timeout_s
        busy_until_s = began_s + min(BUSY_PATIENCE_S, RETRY_SHARE * call.timeout_s)
        tries = 0
        while True:
            tries += 1
            await self._wait(self._judge.admit(call.version), deadline)
            try:
                return await self._try(call, deadline, tries)
            except Overloaded:
                # Also said by one that stood still for a second: its calls seem to run long.
                if self._clock() >= busy_until_s:
                    raise
                tries -= 1
                await self._sleep(BUSY_PAUSE_S)
            except (ReplicaUnavailable, DeadlineExceeded) as error:
                if isinstance(replica_id := error.context.get("replica"), str):
                    await self._wait(self._judge.hear(call, replica_id), deadline)
                if not self._may_retry(call, error, deadline, tries):
                    raise
            await self._sleep(self._jitter(*JITTER_S))

    async def _wait(self, judgement: Awaitable[None], deadline: float) -> None:
        try:
            async with asyncio.timeout(max(deadline - self._clock(), 0)):
                await judgement
        except TimeoutError as error:
            raise DeadlineExceeded(
                "the model crashed a replica and is being examined: try again", retry_after_s=2
            ) from error

    async def _try(self, call: PredictCall, deadline: float, tries: int) -> PredictReply:
        left_s = deadline - self._clock()
        if left_s <= 0:
            raise DeadlineExceeded("no replica answered within the deadline: try again")
        if tries == 1 and self._budget.is_left():
            left_s = FIRST_TRY_SHARE * call.timeout_s
        return await self._predictor.predict(_within(call, left_s))

    def _may_retry(
        self, call: PredictCall, error: PlatformError, deadline: float, tries: int
    ) -> bool:
        left_s = deadline - self._clock()
        if isinstance(error, DeadlineExceeded):
            may = tries == 1 and left_s >= RETRY_SHARE * call.timeout_s
        else:
            is_charged = self._judge.was_charged(call.version.key)
            may = tries < (MAX_TRIES_WHEN_CHARGED if is_charged else MAX_TRIES)
        return may and left_s > JITTER_S[1] and self._budget.try_spend()


def _within(call: PredictCall, timeout_s: float) -> PredictCall:
    return PredictCall(
        version=call.version,
        signature=call.signature,
        method=call.method,
        batch=call.batch,
        timeout_s=timeout_s,
        request_ids=call.request_ids,
    )

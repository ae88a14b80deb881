"""
Vets and replays uploaded bytes in a child process that can do no harm (intake.md §5).

A bounded number of children at a time, a bounded queue before them; a lost zygote is replaced
once a minute at most, and then the whole replica is given up.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict

import anyio
import anyio.to_thread

from cluster.contracts import (
    Batch,
    JsonObject,
    Method,
    SandboxState,
    Signature,
    VersionRef,
    VetReport,
    VetRequest,
)
from cluster.errors import InvalidInput, Overloaded, ReplicaUnavailable
from deployments.intake.batches import batch_to_json
from deployments.intake.job_watch import Outcome
from deployments.intake.limits import Limits
from deployments.intake.outcomes import Replay, replay_of, report_of
from deployments.intake.probe import NO_SANDBOX
from deployments.intake.zygote_client import ZygoteClient
from deployments.signatures.storage import signature_to_json

ZYGOTE_COMMAND = ("-m", "deployments.intake.zygote")
#: One lost zygote in this time is replaced; a second one means that a restart of it mends nothing.
RESTART_WINDOW_S = 60.0
#: A child holds the file, its inflated arrays, and the estimator made of them.
COPIES_OF_MODEL = 2
logger = logging.getLogger(__name__)


class Sandbox:
    """The vetting sandbox of one Loader."""

    def __init__(
        self,
        limits: Limits | None = None,
        extra_names: frozenset[str] = frozenset(),
        wall_clock_s: float = 20.0,
        *,
        memory_bytes: int | None = None,
        cpu_s: int = 10,
        lanes: int = 2,
        queue_bound: int = 16,
        zygote_command: Sequence[str] = ZYGOTE_COMMAND,
        turn: Callable[[], AbstractContextManager[None]] = nullcontext,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits or Limits()
        self._config = {"limits": asdict(self._limits), "extra_names": sorted(extra_names)}
        self._wall_clock_s = wall_clock_s
        self._memory_bytes = memory_bytes or COPIES_OF_MODEL * self._limits.max_inflated_bytes
        self._cpu_s = cpu_s
        self._queue_bound = queue_bound
        self._command = tuple(zygote_command)
        self._turn = turn
        self._clock = clock
        self._lanes = anyio.CapacityLimiter(lanes)
        self._starting = threading.Lock()
        self._client: ZygoteClient | None = None
        self._restarted_at_s = -math.inf
        self._is_stopped = False
        self._jobs = 0
        #: Smoothed duration of a job, for Retry-After.
        self._job_s = 0.5

    @property
    def state(self) -> SandboxState:
        """The layers that hold, as the running zygote found them by trying."""
        return self._client.state if self._client is not None else NO_SANDBOX

    @property
    def is_alive(self) -> bool:
        """Whether the next vetting can run: a zygote is there, or may still be replaced."""
        if self._client is None or self._is_stopped:
            return False
        return self._client.is_alive or self._may_restart()

    @property
    def zygote_pid(self) -> int | None:
        """Process id of the zygote; ``None`` before ``start``."""
        return self._client.pid if self._client is not None else None

    @property
    def utilisation(self) -> float:
        """Jobs that run or wait, over the jobs that may run; above 1 there is a queue."""
        return self._jobs / self._lanes.total_tokens

    def start(self) -> None:
        """
        Start the zygote and wait until it is preloaded; blocks for some seconds.

        Raises:
            ReplicaUnavailable: It does not start.
        """
        with self._starting:
            if self._client is None:
                self._client = self._new_client()

    def stop(self) -> None:
        """End the zygote and all children; safe to repeat."""
        self._is_stopped = True
        if self._client is not None:
            self._client.close()

    async def vet(self, content: bytes, request: VetRequest) -> VetReport:
        """
        The child's report on the file.

        Raises:
            UploadRefused: A gate refused, or the file crashed or exhausted its child.
            InvalidInput: The examples are malformed.
            Overloaded: Too many files wait already, or predictions took all the cores.
            ReplicaUnavailable: The sandbox was lost meanwhile; nothing is known of the file.
        """
        header = {"kind": "vet", "request": asdict(request)}
        outcome = await self._run(header, [content])
        return report_of(outcome, wall_clock_s=self._wall_clock_s, memory_bytes=self._memory_bytes)

    async def replay(
        self,
        content: bytes,
        version: VersionRef,
        signature: Signature,
        method: Method,
        batch: Batch,
    ) -> Replay:
        """
        How one batch ends on the model alone: the trial of a query of death.

        Raises:
            Overloaded, ReplicaUnavailable: As ``vet`` does; nothing is known of the batch.
        """
        header = {
            "kind": "replay",
            "format": version.format,
            "engines": version.engines,
            "signature": signature_to_json(signature),
            "method": method,
            "batch": batch_to_json(batch),
        }
        return replay_of(await self._run(header, [content]))

    async def _run(self, header: JsonObject, blobs: Sequence[bytes]) -> Outcome:
        if self._jobs >= self._lanes.total_tokens + self._queue_bound:
            seconds = max(1.0, self._job_s * self.utilisation)
            raise Overloaded(
                "too many uploads are being checked: try again later",
                retry_after_s=math.ceil(seconds),
            )
        started_s = self._clock()
        self._jobs += 1
        try:
            return await anyio.to_thread.run_sync(
                self._run_blocking, header, blobs, limiter=self._lanes
            )
        except ValueError as error:
            raise InvalidInput("examples hold a number that JSON does not have") from error
        finally:
            self._jobs -= 1
            self._job_s += 0.2 * (self._clock() - started_s - self._job_s)

    def _run_blocking(self, header: JsonObject, blobs: Sequence[bytes]) -> Outcome:
        copies_bytes = COPIES_OF_MODEL * sum(len(blob) for blob in blobs)
        with self._turn():
            return self._living_client().run(
                header,
                blobs,
                memory_bytes=self._memory_bytes + copies_bytes,
                cpu_s=self._cpu_s,
                wall_clock_s=self._wall_clock_s,
            )

    def _living_client(self) -> ZygoteClient:
        with self._starting:
            client = self._client
            if client is None or self._is_stopped:
                raise _lost()
            if client.is_alive:
                return client
            client.close()
            if not self._may_restart():
                raise _lost()
            self._restarted_at_s = self._clock()
            logger.warning("the vetting zygote was lost and is replaced")
            self._client = self._new_client()
            return self._client

    def _may_restart(self) -> bool:
        return self._clock() - self._restarted_at_s >= RESTART_WINDOW_S

    def _new_client(self) -> ZygoteClient:
        client = ZygoteClient(self._config, self._command)
        client.wait_ready()
        return client


def _lost() -> ReplicaUnavailable:
    return ReplicaUnavailable("the vetting sandbox is not available: try again", retry_after_s=5)

"""
Calls from one deployment to another, with Ray's errors translated into ours.

The adapters here are what ``serve_app.ports`` asks for; nobody else touches a DeploymentHandle.
"""

import asyncio
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from ray.exceptions import (
    ObjectLostError,
    RayActorError,
    RaySystemError,
    RayTaskError,
    TaskCancelledError,
    WorkerCrashedError,
)
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    ReplicaUnavailableError,
)

from cluster.contracts import (
    Batch,
    LoaderStatus,
    Method,
    PredictCall,
    PredictReply,
    Signature,
    VersionRef,
    VetReport,
    VetRequest,
)
from cluster.errors import DeadlineExceeded, Overloaded, PlatformError, ReplicaUnavailable
from cluster.request_context import request_id_var
from deployments import silence
from deployments.intake.outcomes import Replay

#: gRPC between replicas caps a message at 4 MB; above half of it the object store carries it.
BY_REFERENCE_BYTES = 2 * 1024 * 1024
#: A vetting may take its wall clock of 20 s and wait as long for a free place.
VET_TIMEOUT_S = 60.0
FETCH_TIMEOUT_S = 30.0
STATUS_TIMEOUT_S = 2.0
#: Guess of an object element's pickled size, for choosing the way it travels.
_OBJECT_ELEMENT_BYTES = 64
_GONE = (
    RayActorError,
    ReplicaUnavailableError,
    DeploymentUnavailableError,
    WorkerCrashedError,
    ObjectLostError,
    RaySystemError,
)


class Handle(Protocol):
    """The two things we use of a Serve DeploymentHandle."""

    def options(self, **options: object) -> "Handle":
        """The handle with options set."""
        ...

    def remote(self, *args: object) -> Any:
        """Send the call; the response is awaitable."""
        ...


async def call(handle: Handle, *args: object, timeout_s: float) -> Any:
    """
    The method's answer.

    Raises:
        PlatformError: What the other side raised, as it was raised there.
        ReplicaUnavailable: The replica died or could not be reached; a pure call may be repeated.
        Overloaded: Every replica's queue is full.
        DeadlineExceeded: No answer within ``timeout_s``; the remote work is cancelled.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await handle.remote(*args)
    except TimeoutError as error:
        raise DeadlineExceeded("no answer within the deadline: try again later") from error
    except BackPressureError as error:
        raise Overloaded("the platform is at capacity: try again later", retry_after_s=1) from error
    except RayTaskError as error:
        raise _cause(error) from None
    except _GONE as error:
        # Set where one replica was lost with the call, and absent where none could be found.
        lost = getattr(error, "actor_id", None)
        raise ReplicaUnavailable(
            "a replica was lost: try again", retry_after_s=1, replica=lost
        ) from error
    except (TaskCancelledError, asyncio.CancelledError) as error:
        # A replica that cancels a task looks like a caller that went away, unless nobody asked
        # this task to stop.
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise ReplicaUnavailable("a replica was lost: try again", retry_after_s=1) from error


def _cause(error: RayTaskError) -> Exception:
    """The other side's own error; its ``str`` as Ray sends it is a whole remote traceback."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, PlatformError):
        return type(cause)(cause.message, **cause.context)
    if isinstance(cause, _GONE):
        return ReplicaUnavailable("a replica was lost: try again", retry_after_s=1)
    return PlatformError("the platform failed: report the request id", cause=repr(cause))


def travels_by_reference(call: PredictCall) -> bool:
    """Whether the batch or its answer may be too large for a gRPC message."""
    spec = call.signature.outputs.get(call.method)
    width = int(np.prod([max(n, 1) for n in spec.shape[1:]])) if spec else 1
    answer_bytes = call.batch.rows * width * _OBJECT_ELEMENT_BYTES
    return max(_pickled_bytes(call.batch), answer_bytes) > BY_REFERENCE_BYTES


def _pickled_bytes(batch: Batch) -> int:
    if batch.matrix is not None:
        return int(batch.matrix.nbytes)
    total = 0
    for column in batch.columns or ():
        if column.dtype.kind != "O":
            total += int(column.nbytes)
        elif batch.rows:
            total += sum(len(v) if isinstance(v, str) else _OBJECT_ELEMENT_BYTES for v in column)
    return total


class ServePredictors:
    """The Predictor deployment by its handle, routed by model affinity."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        # Making options costs more than sending; a bounded memory of them is enough.
        self._to = lru_cache(maxsize=4096)(self._options)

    def _options(self, method: str, affinity: str, by_reference: bool) -> Handle:  # noqa: FBT001
        return self._handle.options(
            method_name=method, multiplexed_model_id=affinity, _by_reference=by_reference
        )

    async def predict(self, request: PredictCall) -> PredictReply:
        """Answer one batch; raises as ``call`` and the Predictor do."""
        handle = self._to("predict", request.version.key, travels_by_reference(request))
        reply: PredictReply = await call(handle, request, timeout_s=request.timeout_s)
        silence.predictors.answered(reply.replica_id)
        return reply

    async def warm(self, version: VersionRef, signature: Signature) -> None:
        """Load the version where its calls will go."""
        handle = self._to("warm", version.key, False)
        await call(handle, version, signature, timeout_s=FETCH_TIMEOUT_S)

    async def ping(self) -> None:
        """Return once any Predictor has answered."""
        await call(self._to("ping", "", False), timeout_s=STATUS_TIMEOUT_S)


class ServeLoaders:
    """The Loader deployment by its handle; bytes ride the object store."""

    def __init__(self, handle: Handle) -> None:
        self._vet = handle.options(method_name="vet", _by_reference=True)
        self._fetch = handle.options(method_name="fetch", _by_reference=True)
        self._fetch_compiled = handle.options(method_name="fetch_compiled", _by_reference=True)
        self._replay = handle.options(method_name="replay", _by_reference=True)
        self._status = handle.options(method_name="status")

    async def vet(self, content: bytes, request: VetRequest) -> VetReport:
        """Vet and store an upload."""
        report: VetReport = await call(self._vet, content, request, timeout_s=VET_TIMEOUT_S)
        return report

    async def fetch(self, sha256: str, size_bytes: int) -> bytes:
        """Verified bytes of a stored artifact."""
        content: bytes = await call(
            self._fetch, sha256, size_bytes, request_id_var.get(), timeout_s=FETCH_TIMEOUT_S
        )
        return content

    async def fetch_compiled(self, sha256: str, size_bytes: int) -> bytes:
        """Verified arrays of a stored artifact's compiled form; empty where it has none."""
        content: bytes = await call(
            self._fetch_compiled,
            sha256,
            size_bytes,
            request_id_var.get(),
            timeout_s=FETCH_TIMEOUT_S,
        )
        return content

    async def replay(
        self, version: VersionRef, signature: Signature, method: Method, batch: Batch
    ) -> Replay:
        """How one batch ends on the version alone in the sandbox."""
        replay: Replay = await call(
            self._replay,
            version,
            signature,
            method,
            batch,
            request_id_var.get(),
            timeout_s=VET_TIMEOUT_S,
        )
        return replay

    async def status(self) -> LoaderStatus:
        """State of sandbox and storage."""
        status: LoaderStatus = await call(self._status, timeout_s=STATUS_TIMEOUT_S)
        return status

"""
Answers batches: fetches a version's bytes once, builds it, keeps it, runs it in a lane.

A plain class, bound as a Ray Serve deployment in ``serve_app/main.py``.  It holds no secret of the
platform and imports neither the front nor a database driver.
"""

import asyncio
import contextvars
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Protocol

from cluster.contracts import PredictCall, PredictReply, Signature, VersionRef
from cluster.errors import (
    DeadlineExceeded,
    ModelLoading,
    ModelUnavailable,
    Overloaded,
    PlatformError,
    PredictionFailed,
    ReplicaUnavailable,
    UploadRefused,
)
from cluster.health import ReplicaHealth
from cluster.replicas import begin_replica
from cluster.request_context import enter_request
from cluster.setting_sources import Role
from cluster.settings import Settings
from deployments.black_box import BlackBox
from deployments.lanes import Lanes
from deployments.model_cache import ModelCache
from deployments.served_model import ServedModel, build_served_model, load_libraries

#: Calls that run at a time; the deployment's ``max_ongoing_requests`` is about the same.
LANES = 4
#: Models that are built at a time.
BUILDERS = 2
#: A lost Loader is asked again; another replica will answer.
FETCH_TRIES = 3
FETCH_PAUSE_S = 0.2
#: A calculation below this is done before a thread would have started.
INLINE_S = 200e-6
#: Beside the cached models: interpreter, libraries, batches under way.
MEMORY_ALLOWANCE_BYTES = 1024**3


class Fetch(Protocol):
    """Where bytes come from: the Loader itself, or the adapter of its handle."""

    async def fetch(self, sha256: str, size_bytes: int) -> bytes:
        """Verified bytes of a stored artifact."""


class Predictor:
    """
    One Predictor replica.

    Args:
        fetch: A Loader, or in Serve its DeploymentHandle.
        settings: For tests; a replica reads its own, without a secret that is not its.
        lanes: Calls that run at a time.
        black_box: For tests; a replica keeps its own.
        cache_bytes: Memory of loaded models; unset: PREDICTOR_CACHE_BYTES.
    """

    def __init__(
        self,
        fetch: object,
        *,
        settings: Settings | None = None,
        lanes: int = LANES,
        cache_bytes: int | None = None,
        black_box: BlackBox | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if settings is None:
            settings = begin_replica(Role.PREDICTOR)
        load_libraries()
        cache_bytes = cache_bytes or settings.predictor_cache_bytes
        self._fetch, self._replica_id, actor_id = _connect(fetch)
        self._black_box = black_box or BlackBox.of_replica(settings, actor_id, slots=lanes)
        self._settings = settings
        self._clock = clock
        self._lanes = Lanes(lanes, clock=clock)
        self._threads = ThreadPoolExecutor(lanes, thread_name_prefix="lane")
        self._builders = ThreadPoolExecutor(BUILDERS, thread_name_prefix="build")
        self._models: ModelCache[ServedModel] = ModelCache(cache_bytes, clock=clock)
        self._health = ReplicaHealth(
            lanes=lanes,
            memory_bound_bytes=cache_bytes * 3 // 2 + MEMORY_ALLOWANCE_BYTES,
            clock=clock,
        )
        #: Runs go on when their caller has given up; the loop itself keeps no reference.
        self._runs: set[asyncio.Task[PredictReply]] = set()

    async def predict(self, call: PredictCall) -> PredictReply:
        """
        The answer to one batch.

        Raises:
            PredictionFailed: The model raised.
            ModelLoading: The version is still being loaded at the deadline.
            ModelUnavailable: Its bytes cannot be had, or the gates of now refuse them.
            ArtifactCorrupt: Its bytes are not those of its digest.
            Overloaded: Its running calls are long and hold half of this replica.
            DeadlineExceeded: It did not answer in time; the calculation ends by itself.
        """
        self._health.beat()
        enter_request(",".join(call.request_ids), call.version.model_id, call.version.version)
        run = asyncio.get_running_loop().create_task(self._predict(call))
        self._runs.add(run)
        run.add_done_callback(self._finished)
        done, _ = await asyncio.wait({run}, timeout=call.timeout_s)
        if done:
            return run.result()
        if call.version.key not in self._models:
            raise ModelLoading(
                "the model is being loaded and was not ready in time: try again", retry_after_s=1
            )
        raise DeadlineExceeded(
            "the model did not answer within the deadline: send fewer rows or allow more time",
            model=call.version.key,
        )

    async def warm(self, version: VersionRef, signature: Signature) -> None:
        """Load the version; returns once it is there.  Raises as ``predict`` does."""
        async with self._model(version, signature):
            pass

    async def ping(self) -> None:
        """Return at once: the event loop turns."""

    async def check_health(self) -> None:
        """
        Return while a restart would mend nothing.

        Raises:
            ReplicaUnavailable: A call runs at twice its deadline, the event loop stood still, or
                memory leaks; the message names the version.
        """
        self._health.beat()
        faults = self._health.faults()
        if faults:
            raise ReplicaUnavailable("; ".join(faults))

    def record_autoscaling_stats(self) -> dict[str, float]:
        """The sliding window, and what the model cache holds."""
        return self._health.stats() | {
            "models": float(len(self._models)),
            "model_bytes": float(self._models.used_bytes),
        }

    def close(self) -> None:
        """Let the threads end; safe to repeat."""
        self._black_box.close()
        self._health.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._builders.shutdown(wait=False, cancel_futures=True)

    def _finished(self, run: "asyncio.Task[PredictReply]") -> None:
        self._runs.discard(run)
        if not run.cancelled():
            run.exception()  # a caller that has gone away left it unread

    async def _predict(self, call: PredictCall) -> PredictReply:
        with self._health.track(
            label=call.version.key, timeout_s=call.timeout_s, is_preparing=True
        ) as tracked:
            try:
                async with AsyncExitStack() as stack:
                    model = await stack.enter_async_context(
                        self._model(call.version, call.signature)
                    )
                    tracked.prepared()
                    await stack.enter_async_context(self._lanes.lane(call.version.key))
                    if self._clock() - tracked.arrived_s > call.timeout_s:
                        raise DeadlineExceeded("the deadline passed while the call waited")
                    tracked.begin()
                    stack.enter_context(self._black_box.executing(call.version.key))
                    return await self._run(model, call)
            except (PredictionFailed, Overloaded):
                raise
            except PlatformError:
                tracked.is_error = True
                raise

    async def _run(self, model: ServedModel, call: PredictCall) -> PredictReply:
        if model.expected_s(call.method, call.batch.rows) < INLINE_S:
            return model.answer(call.method, call.batch, self._replica_id)
        # A copied context: what a thread logs carries the request id as well.
        return await asyncio.get_running_loop().run_in_executor(
            self._threads,
            contextvars.copy_context().run,
            model.answer,
            call.method,
            call.batch,
            self._replica_id,
        )

    def _model(
        self, version: VersionRef, signature: Signature
    ) -> AbstractAsyncContextManager[ServedModel]:
        return self._models.pinned(version.key, lambda: self._load(version, signature))

    async def _load(self, version: VersionRef, signature: Signature) -> ServedModel:
        content = await self._fetched(version)
        return await asyncio.get_running_loop().run_in_executor(
            self._builders,
            contextvars.copy_context().run,
            build_served_model,
            content,
            version,
            signature,
            self._settings,
        )

    async def _fetched(self, version: VersionRef) -> bytes:
        for attempt in range(FETCH_TRIES):
            try:
                return await self._fetch.fetch(version.sha256, version.size_bytes)
            except (ReplicaUnavailable, Overloaded) as error:
                if attempt + 1 == FETCH_TRIES:
                    raise ModelUnavailable(
                        "the model's bytes cannot be had now: try again", retry_after_s=2
                    ) from error
                await asyncio.sleep(FETCH_PAUSE_S)
            except UploadRefused as error:
                raise ModelUnavailable(
                    f"this server does not release the model any more: {error.message}",
                    model=version.key,
                ) from error
        raise AssertionError("unreachable: the last try returns or raises")


def _connect(fetch: object) -> tuple[Fetch, str, str | None]:
    """The Loader behind what the constructor was given; this replica's id and its actor's."""
    if callable(getattr(fetch, "options", None)):
        import ray
        from ray import serve

        from deployments.handles import Handle, ServeLoaders

        handle: Handle = fetch  # type: ignore[assignment]  # Serve passes a DeploymentHandle
        replica_id = str(serve.get_replica_context().replica_id.unique_id)
        return ServeLoaders(handle), replica_id, ray.get_runtime_context().get_actor_id()
    loader: Fetch = fetch  # type: ignore[assignment]  # whatever has ``fetch``, as in the tests
    return loader, "", None

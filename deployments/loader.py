"""
The one door to model bytes: takes uploads in through the sandbox and releases vetted bytes.

A plain class, bound as a Ray Serve deployment in ``serve_app/main.py``; it never reads the
registry.  Blocking work runs in threads, so that health checks are answered meanwhile.
"""

import asyncio
import hashlib
import sys
from dataclasses import replace
from typing import get_args

from anyio.to_thread import run_sync

from cluster.artifacts import ArtifactStore, open_store
from cluster.contracts import (
    ArtifactFormat,
    Batch,
    LoaderStatus,
    Method,
    Signature,
    VersionRef,
    VetReport,
    VetRequest,
)
from cluster.errors import (
    ArtifactCorrupt,
    PlatformError,
    ReplicaUnavailable,
    StorageFull,
    UploadRefused,
)
from cluster.health import ReplicaHealth
from cluster.metrics import VETTINGS
from cluster.replicas import begin_replica
from cluster.request_context import enter_request
from cluster.setting_sources import Role
from cluster.settings import Settings
from deployments.intake.libraries import verdict_key
from deployments.intake.node_turns import NodeTurns
from deployments.intake.operator_names import limits_of, read_extra_names
from deployments.intake.outcomes import Replay
from deployments.intake.sandbox import Sandbox
from deployments.store_reach import require_store_in_reach
from deployments.verdicts import Verdicts

#: Files that are vetted at a time, each in a child of its own; fewer where cores are few.
LANES = 2
#: Sixteen of the largest uploads with a copy of each, and libraries; more has leaked.
MEMORY_BOUND_BYTES = 4 * 1024**3


class Loader:
    """
    One Loader replica.

    Args:
        settings: For tests; a replica reads its own, without a secret that is not the Loader's.
        sandbox: For tests; a replica starts its own.
    """

    def __init__(self, *, settings: Settings | None = None, sandbox: Sandbox | None = None) -> None:
        if settings is None:
            settings = begin_replica(Role.LOADER)
            require_store_in_reach(settings)
        extra_names = read_extra_names(settings)
        self._store: ArtifactStore = open_store(settings)
        self._verdicts = Verdicts(self._store, verdict_key(extra_names))
        turn = NodeTurns(settings.slipway_home / "vetting").taken
        self._sandbox = sandbox or Sandbox(limits_of(settings), extra_names, lanes=LANES, turn=turn)
        self._health = ReplicaHealth(lanes=LANES, memory_bound_bytes=MEMORY_BOUND_BYTES)
        self._vettings: dict[str, asyncio.Task[None]] = {}
        self._sandbox.start()

    async def vet(self, content: bytes, request: VetRequest) -> VetReport:
        """
        Vet an upload and, where it is accepted, store its bytes under their sha256.

        Raises:
            UploadRefused, InvalidInput: A gate refused, or the examples; nothing was stored.
            Overloaded, StorageFull, ReplicaUnavailable, ModelUnavailable: Try again.
        """
        self._health.beat()
        enter_request(request.request_id)
        await run_sync(self._require_whole, content, request)
        with self._health.track(label=f"vetting of {request.sha256}") as call:
            call.begin()
            try:
                report = await self._sandbox.vet(content, request)
            except UploadRefused as error:
                VETTINGS.record(verdict="refused", reason=str(error.context.get("reason", "")))
                raise
            VETTINGS.record(verdict="accepted", reason="")
            return await run_sync(self._keep, content, request.sha256, report)

    async def fetch(self, sha256: str, size_bytes: int, request_id: str = "") -> bytes:
        """
        Verified bytes that the gates of now accept; vetted again where that is not known.

        Raises:
            ModelUnavailable: The store cannot be read, or has no such object.
            ArtifactCorrupt: The bytes differ from their digest.
            UploadRefused: The libraries installed now, or the gates, do not accept the file.
        """
        self._health.beat()
        enter_request(request_id)
        content = await run_sync(self._store.get, sha256, size_bytes)
        verdict = await run_sync(self._verdicts.find, sha256)
        if verdict is None:
            await self._vet_again(content, sha256)
        elif verdict.refusal is not None:
            raise verdict.refusal
        return content

    async def fetch_compiled(self, sha256: str, size_bytes: int, request_id: str = "") -> bytes:
        """
        Verified arrays of the model's compiled form, made under the libraries of now.

        Returns:
            A container of ``engines.container``; empty where the version has no such form.

        Raises:
            ModelUnavailable, ArtifactCorrupt, UploadRefused: As ``fetch`` does.
        """
        self._health.beat()
        enter_request(request_id)
        verdict = await run_sync(self._verdicts.find, sha256)
        form = None if verdict is None else verdict.compiled
        if verdict is None or (form and not await run_sync(self._store.has, form.sha256)):
            # Neither a backup nor the collection of garbage knows of these arrays.
            content = await run_sync(self._store.get, sha256, size_bytes)
            await self._vet_again(content, sha256)
            verdict = await run_sync(self._verdicts.find, sha256)
        if verdict is not None and verdict.refusal is not None:
            raise verdict.refusal
        form = None if verdict is None else verdict.compiled
        if form is None:
            return b""
        return await run_sync(self._store.get, form.sha256, form.size_bytes)

    async def replay(
        self,
        version: VersionRef,
        signature: Signature,
        method: Method,
        batch: Batch,
        request_id: str = "",
    ) -> Replay:
        """How one batch ends on the version alone in the sandbox: a query of death or not."""
        enter_request(request_id, version.model_id, version.version)
        content = await run_sync(self._store.get, version.sha256, version.size_bytes)
        return await self._sandbox.replay(content, version, signature, method, batch)

    async def status(self) -> LoaderStatus:
        """State of sandbox and storage; never raises for a store that is away."""
        state = self._sandbox.state
        try:
            space = await run_sync(self._store.space)
        except PlatformError:
            return LoaderStatus(
                sandbox=state, storage_ok=False, storage_free_bytes=0, storage_total_bytes=0
            )
        return LoaderStatus(
            sandbox=state,
            storage_ok=True,
            storage_free_bytes=sys.maxsize if space.free_bytes is None else space.free_bytes,
            storage_total_bytes=sys.maxsize if space.total_bytes is None else space.total_bytes,
        )

    async def check_health(self) -> None:
        """
        Return while a restart would mend nothing; a store that is away is no reason for one.

        Raises:
            ReplicaUnavailable: Sandbox lost, event loop stood still, or memory leaked.
        """
        self._health.beat()
        faults = self._health.faults()
        if not self._sandbox.is_alive:
            faults.append("the vetting sandbox is lost")
        if faults:
            raise ReplicaUnavailable("; ".join(faults))

    def record_autoscaling_stats(self) -> dict[str, float]:
        """The sliding window; utilisation counts files that wait as well."""
        stats = self._health.stats() | {"sandbox": float(self._sandbox.is_alive)}
        return stats | {"utilisation": max(stats["utilisation"], self._sandbox.utilisation)}

    def close(self) -> None:
        """End the sandbox; safe to repeat."""
        self._health.stop()
        self._sandbox.stop()

    def __del__(self) -> None:
        # By Serve, at a graceful stop; after a SIGKILL the zygote sees the socket close and ends.
        if hasattr(self, "_sandbox"):
            self._sandbox.stop()

    def _require_whole(self, content: bytes, request: VetRequest) -> None:
        arrived = len(content), hashlib.sha256(content).hexdigest()
        if arrived != (request.size_bytes, request.sha256):
            sentence = "the upload arrived damaged inside the platform: send it again"
            raise ArtifactCorrupt(sentence, sha256=request.sha256)
        free_bytes = self._store.space().free_bytes
        # Twice: the temporary file and room for everybody else's next write.
        if free_bytes is not None and free_bytes < 2 * len(content):
            raise StorageFull("the model store is full: free some space, then try again")

    def _keep(self, content: bytes, sha256: str, report: VetReport) -> VetReport:
        self._store.put(content, sha256)
        return self._accept(sha256, report)

    def _accept(self, sha256: str, report: VetReport) -> VetReport:
        """The report as others get it: with the compiled form's name, without its arrays."""
        form = report.compiled
        if form is not None:
            self._store.put(form.content, form.sha256)
            report = replace(report, compiled=replace(form, content=b""))
        self._verdicts.accept(sha256, report.canary, form)
        return report

    async def _vet_again(self, content: bytes, sha256: str) -> None:
        task = self._vettings.get(sha256)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._vet_stored(content, sha256))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._vettings[sha256] = task
        await asyncio.shield(task)

    async def _vet_stored(self, content: bytes, sha256: str) -> None:
        try:
            canary = await run_sync(self._verdicts.find_canary, sha256)
            request = VetRequest(
                sha256=sha256,
                size_bytes=len(content),
                allowed_formats=get_args(ArtifactFormat),  # permitted when it was uploaded
                recorded_canary=canary,
            )
            try:
                report = await self._sandbox.vet(content, request)
            except UploadRefused as refusal:
                # What the sandbox alone refuses may be this machine's load or kernel.
                if refusal.context.get("gate") != "sandbox":
                    await run_sync(self._verdicts.refuse, sha256, refusal)
                raise
            await run_sync(self._accept, sha256, report)
        finally:
            del self._vettings[sha256]

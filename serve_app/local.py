"""
The other deployments in this process: the same classes, called without Ray.

For the HTTP suite and for a laptop's shell; what it leaves out is the network, not the work.
"""

from dataclasses import dataclass

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
from deployments.intake.outcomes import Replay
from deployments.loader import Loader
from deployments.predictor import Predictor


@dataclass(frozen=True, slots=True)
class LocalPredictors:
    """One Predictor behind the ``Predictors`` port."""

    predictor: Predictor

    async def predict(self, call: PredictCall) -> PredictReply:
        """Answer one batch."""
        return await self.predictor.predict(call)

    async def warm(self, version: VersionRef, signature: Signature) -> None:
        """Load the version."""
        await self.predictor.warm(version, signature)

    async def ping(self) -> None:
        """Return once the Predictor has answered."""
        await self.predictor.ping()


@dataclass(frozen=True, slots=True)
class LocalLoaders:
    """One Loader behind the ``Loaders`` port."""

    loader: Loader

    async def vet(self, content: bytes, request: VetRequest) -> VetReport:
        """Vet and store an upload."""
        return await self.loader.vet(content, request)

    async def fetch(self, sha256: str, size_bytes: int) -> bytes:
        """Verified bytes of a stored artifact."""
        return await self.loader.fetch(sha256, size_bytes)

    async def fetch_compiled(self, sha256: str, size_bytes: int) -> bytes:
        """Verified arrays of a stored artifact's compiled form; empty where it has none."""
        return await self.loader.fetch_compiled(sha256, size_bytes)

    async def replay(
        self, version: VersionRef, signature: Signature, method: Method, batch: Batch
    ) -> Replay:
        """How one batch ends on the version alone in the sandbox."""
        return await self.loader.replay(version, signature, method, batch)

    async def status(self) -> LoaderStatus:
        """State of sandbox and storage."""
        return await self.loader.status()

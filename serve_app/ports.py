"""The other deployments by role, as the front sees them; adapters: ingress.py and local.py."""

from typing import Protocol

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


class Predictors(Protocol):
    """The Predictor deployment as the front sees it."""

    async def predict(self, call: PredictCall) -> PredictReply:
        """
        Answer one batch.

        Raises:
            PredictionFailed: The model raised.
            ReplicaUnavailable, ModelUnavailable, DeadlineExceeded, Overloaded: Nobody could answer.
        """
        ...

    async def warm(self, version: VersionRef, signature: Signature) -> None:
        """Load the version where its calls will go; returns once it is there."""
        ...

    async def ping(self) -> None:
        """Return once any Predictor has answered."""
        ...


class Loaders(Protocol):
    """The Loader deployment as the front sees it."""

    async def vet(self, content: bytes, request: VetRequest) -> VetReport:
        """
        Vet an upload and, where it is accepted, store its bytes under their sha256.

        Raises:
            UploadRefused: A gate refused; nothing was stored.
            Overloaded, StorageFull, ReplicaUnavailable: Try again.
        """
        ...

    async def fetch(self, sha256: str, size_bytes: int) -> bytes:
        """
        Verified bytes of a stored artifact.

        Raises:
            ModelUnavailable: The store cannot be read, or has no such object.
            ArtifactCorrupt: The bytes differ from their digest.
        """
        ...

    async def fetch_compiled(self, sha256: str, size_bytes: int) -> bytes:
        """
        Verified arrays of the artifact's compiled form; empty where it has none.

        Raises:
            ModelUnavailable, ArtifactCorrupt, UploadRefused: As ``fetch`` does.
        """
        ...

    async def replay(
        self, version: VersionRef, signature: Signature, method: Method, batch: Batch
    ) -> Replay:
        """How one batch ends on the version alone in the sandbox; raises as ``vet`` does."""
        ...

    async def status(self) -> LoaderStatus:
        """State of sandbox and storage."""
        ...

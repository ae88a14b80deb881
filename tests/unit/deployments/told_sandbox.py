"""A sandbox that says what it is told, for tests of what stands around the real one."""

import hashlib
from dataclasses import dataclass, field

from cluster.contracts import (
    Batch,
    Feature,
    Method,
    OutputSpec,
    SandboxState,
    Signature,
    VersionRef,
    VetReport,
    VetRequest,
)
from cluster.errors import PlatformError
from deployments.intake.outcomes import Replay

SIGNATURE = Signature(
    kind="table",
    container="matrix",
    features=(Feature(name="x0", type="number", nullable=False),),
    methods=("predict",),
    outputs={"predict": OutputSpec(type="FP64", shape=(-1,))},
    classes=None,
    sklearn_version="1.9.1",
)
WALLS = SandboxState(landlock_abi=7, seccomp=True, rlimits=True)
REPORT = VetReport(
    format="skops",
    signature=SIGNATURE,
    engines={"predict": "linear"},
    engine_notes={},
    cost_per_row_s={"predict": 1e-5},
    memory_bytes=1000,
    canary={"batch": {"rows": 1, "matrix": [[0.0]]}, "answers": {"predict": [1.0]}},
)


@dataclass
class ToldSandbox:
    """Stands for the Sandbox: answers as told and remembers what it was asked."""

    refusal: PlatformError | None = None
    is_alive: bool = True
    utilisation: float = 0.0
    state: SandboxState = WALLS
    asked: list[VetRequest] = field(default_factory=list)
    is_stopped: bool = False

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Remember it."""
        self.is_stopped = True

    async def vet(self, _content: bytes, request: VetRequest) -> VetReport:
        """The report, or the refusal it was told."""
        self.asked.append(request)
        if self.refusal is not None:
            raise self.refusal
        return REPORT

    async def replay(
        self,
        _content: bytes,
        _version: VersionRef,
        _signature: Signature,
        _method: Method,
        _batch: Batch,
    ) -> Replay:
        """A crash on every batch."""
        return Replay(is_crash=True, reason="crash")


def request_for(content: bytes) -> VetRequest:
    """An upload that may be of any format."""
    return VetRequest(
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        allowed_formats=("skops", "onnx", "joblib", "pickle"),
    )

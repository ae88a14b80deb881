"""The HTTP application over a real registry; its Loader and Predictor note their calls."""

import hashlib
import io
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy.orm import Session

from cluster.contracts import (
    Batch,
    Feature,
    LoaderStatus,
    Method,
    OutputSpec,
    PredictCall,
    PredictReply,
    Signature,
    VersionRef,
    VetReport,
    VetRequest,
)
from cluster.errors import ModelUnavailable, PlatformError, ReplicaUnavailable, UploadRefused
from cluster.settings import Settings
from deployments.intake.outcomes import Replay
from serve_app.app import create_app
from serve_app.registry import users
from serve_app.registry.sessions import open_session
from serve_app.services import Services, build_services
from tests.unit.deployments.told_sandbox import REPORT, WALLS

SIGNATURE = Signature(
    kind="table",
    container="matrix",
    features=(Feature(name="length", type="number", nullable=False),),
    methods=("predict",),
    outputs={"predict": OutputSpec(type="INT64", shape=(-1,))},
    classes=(0, 1),
    sklearn_version="1.9.1",
)


def skops_file(content: str = "a model") -> bytes:
    """A zip that gate 0 takes for skops; equal content gives equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("schema.json"), content)
    return buffer.getvalue()


@dataclass
class NotingLoaders:
    """Accepts and keeps what it is given, but refuses files with ``evil`` in them."""

    stored: dict[str, bytes] = field(default_factory=dict)
    requests: list[VetRequest] = field(default_factory=list)

    async def vet(self, content: bytes, request: VetRequest) -> VetReport:
        self.requests.append(request)
        if b"evil" in content:
            raise UploadRefused(
                "gate2: the file names os.system: remove it",
                gate="gate2",
                reason="global",
                name="os.system",
            )
        self.stored[hashlib.sha256(content).hexdigest()] = content
        warnings = ("trained with 1.8",) if b"old" in content else ()
        return replace(REPORT, signature=SIGNATURE, canary={}, warnings=warnings)

    async def fetch(self, sha256: str, size_bytes: int) -> bytes:
        if len(self.stored.get(sha256, b"")) != size_bytes:
            raise ModelUnavailable("the store has no such object")
        return self.stored[sha256]

    async def fetch_compiled(self, sha256: str, size_bytes: int) -> bytes:
        raise ModelUnavailable(f"nothing is compiled here: {sha256}, {size_bytes} bytes")

    async def replay(
        self, version: VersionRef, signature: Signature, method: Method, batch: Batch
    ) -> Replay:
        raise ReplicaUnavailable(
            f"nothing is replayed here: {version.key} {method} {batch.rows} {signature.kind}"
        )

    async def status(self) -> LoaderStatus:
        return LoaderStatus(
            sandbox=WALLS, storage_ok=True, storage_free_bytes=1, storage_total_bytes=1
        )

    async def ping(self) -> None:
        """Answer."""


@dataclass
class NotingPredictors:
    """Notes what is warmed; fails while ``failure`` is set."""

    warmed: list[VersionRef] = field(default_factory=list)
    failure: PlatformError | None = None

    async def predict(self, call: PredictCall) -> PredictReply:
        raise ReplicaUnavailable(f"no prediction is made here: {call.method}")

    async def warm(self, version: VersionRef, signature: Signature) -> None:
        if self.failure is not None:
            raise self.failure
        assert signature == SIGNATURE
        self.warmed.append(version)

    async def ping(self) -> None:
        """Answer."""


@dataclass
class House:
    """The application with what stands behind it, and clients for its users."""

    services: Services
    loaders: NotingLoaders
    predictors: NotingPredictors
    transport: httpx.ASGITransport

    async def user(self, email: str, role: str = "publisher") -> httpx.AsyncClient:
        """A client signed in as a new user."""
        return await signed_in(self.services, self.transport, email, role)


async def signed_in(
    services: Services, transport: httpx.ASGITransport, email: str, role: str
) -> httpx.AsyncClient:
    """A client with a session of a new user, which takes no password hash to make."""

    def make(session: Session) -> str:
        account = users.create_user(session, email=email, password_hash="x", role=role)
        opened = open_session(
            session, account.id, session_epoch=0, lifetime_s=600, now=datetime.now(UTC)
        )
        return services.tokens.access(account.id, opened.family_id, 0)

    token = (await services.database.write(make)).value
    return httpx.AsyncClient(
        transport=transport,
        base_url="http://testserver",
        headers={"Authorization": f"Bearer {token}"},
    )


@pytest.fixture
async def house(database_url: str, valkey_url: str, tmp_path: Path) -> AsyncIterator[House]:
    settings = Settings(
        _env_file=None,
        slipway_home=tmp_path,
        database_url=SecretStr(database_url),
        redis_url=SecretStr(valkey_url),
        secret_key=SecretStr("k" * 40),
        max_upload_size=100_000,
        max_models_per_user=30,
        max_bytes_per_user=150_000,
        default_rate_limit=1_000_000,
    )
    loaders, predictors = NotingLoaders(), NotingPredictors()
    services = build_services(
        settings, predictors=predictors, loaders=loaders, replica_id=f"test-{tmp_path.name}"
    )
    app = create_app(services)
    async with app.router.lifespan_context(app):
        yield House(services, loaders, predictors, httpx.ASGITransport(app))

"""A prediction service in one process: numpy functions for models, everything else real."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray

from cluster.contracts import (
    Batch,
    Feature,
    OutputSpec,
    PredictCall,
    PredictReply,
    Signature,
    VersionRef,
)
from cluster.errors import ModelNotFound, NotAuthenticated, PredictionFailed
from cluster.settings import Settings
from serve_app.api import errors, open_inference, predict
from serve_app.coalescing import Coalescer
from serve_app.inference import Inference
from serve_app.inference_ports import Outcome
from serve_app.registry.resolution import ResolvedVersion
from serve_app.security.decisions import Decision
from serve_app.security.principals import Principal

ALICE = Principal(user_id="1", email="alice@example.org", role="member")
#: What ``double`` fails on.
BAD = -13.0
Model = Callable[[str, Batch], NDArray[Any]]


def double(_method: str, batch: Batch) -> NDArray[Any]:
    """The first column times two; refuses ``BAD``."""
    assert batch.matrix is not None
    first = batch.matrix[:, 0]
    if (first == BAD).any():
        raise PredictionFailed("the model failed on this input")
    return first * 2


@dataclass
class FunctionPredictors:
    """The Predictors port over functions by model id; can be held back to gather requests."""

    models: Mapping[str, Model]
    calls: list[PredictCall] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def predict(self, call: PredictCall) -> PredictReply:
        self.calls.append(call)
        await self.gate.wait()
        values = self.models[call.version.model_id](call.method, call.batch)
        return PredictReply(values=values, cost_s=0.0, engine="native")

    async def warm(self, version: VersionRef, signature: Signature) -> None:
        """Nothing to load."""

    async def ping(self) -> None:
        """Always there."""


def version_ref(model_id: str = "m", version: int = 1) -> VersionRef:
    return VersionRef(
        model_id=model_id, version=version, sha256="0" * 64, size_bytes=1, format="joblib"
    )


def signature(
    *features: Feature,
    container: str = "matrix",
    outputs: Mapping[str, OutputSpec] | None = None,
    classes: tuple[Any, ...] | None = None,
) -> Signature:
    outputs = outputs or {"predict": OutputSpec(type="FP64", shape=(-1,))}
    return Signature(
        kind="text" if container == "documents" else "table",
        container=container,  # type: ignore[arg-type]
        features=features or tuple(number(name) for name in ("x0", "x1", "x2")),
        methods=tuple(outputs),  # type: ignore[arg-type]
        outputs=dict(outputs),
        classes=classes,
        sklearn_version="1.9.1",
    )


def number(name: str, *, nullable: bool = False) -> Feature:
    return Feature(name=name, type="number", nullable=nullable)


def resolved(
    name: str, taken: Signature, *, version: int = 1, status: str = "ready", **details: Any
) -> ResolvedVersion:
    return ResolvedVersion(
        ref=version_ref(f"id-of-{name}", version),
        signature=taken,
        model_name=name,
        owner_id=ALICE.user_id,
        feature_bounds=details.get("feature_bounds", {}),
        cost_per_row_s=details.get("cost_per_row_s", {}),
        status=status,
    )


@dataclass
class TableCatalog:
    """A catalog over a dictionary; every version answers to its name, id and number."""

    versions: list[ResolvedVersion]

    async def resolve(
        self, _principal: Principal, model: str, version: str | int | None
    ) -> ResolvedVersion:
        for candidate in self.versions:
            is_model = model in {candidate.model_name, candidate.ref.model_id}
            if is_model and version in {None, candidate.version, str(candidate.version)}:
                return candidate
        raise ModelNotFound(f"no model {model!r} version {version}")


class _Identities:
    def find_cached(self, _authorization: str | None, api_key: str | None) -> Principal | None:
        return ALICE if api_key == "good" else None

    async def identify(self, authorization: str | None, _api_key: str | None) -> Principal:
        if authorization == "Bearer good":
            return ALICE
        raise NotAuthenticated("sign in, or send an API key")


class _Limits:
    def try_take(self, _principal: Principal, route_class: str) -> Decision | None:
        return Decision(route_class, 100, 99)


@dataclass
class Service:
    """An application and what stands behind it."""

    app: FastAPI
    predictors: FunctionPredictors
    outcomes: list[Outcome]

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=False),
            base_url="http://testserver",
            headers={"X-API-Key": "good"},
        )


def service(models: Mapping[ResolvedVersion | str, Any], **settings: Any) -> Service:
    """A service of ``{name: (ResolvedVersion, Model)}``."""
    versions = [version for version, _ in models.values()]
    predictors = FunctionPredictors(
        {version.ref.model_id: model for version, model in models.values()}
    )
    outcomes: list[Outcome] = []
    inference = Inference(
        catalog=TableCatalog(versions),
        coalescer=Coalescer(predictors),
        observers=(outcomes.append,),
    )
    app = FastAPI(openapi_url=None)
    app.state.services = SimpleNamespace(
        settings=Settings(_env_file=None, **settings),
        identities=_Identities(),
        limits=_Limits(),
        inference=inference,
        predictors=predictors,
        is_draining=False,
    )
    app.router.routes.extend([*predict.routes, *open_inference.routes])
    errors.install(app)
    return Service(app, predictors, outcomes)


def rows_of(*first: float) -> Batch:
    """Rows of a matrix whose first column is ``first``."""
    return Batch(rows=len(first), matrix=np.array([[value, 0.0] for value in first]))

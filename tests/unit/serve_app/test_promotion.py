"""Warming before production moves."""

import asyncio
from datetime import UTC, datetime

import pytest

from cluster.contracts import OutputSpec, PredictCall, PredictReply, Signature, VersionRef
from cluster.errors import ModelLoading, ModelUnavailable
from deployments.signatures.storage import signature_to_json
from serve_app.promotion import warm
from serve_app.registry.records import VersionRecord

pytestmark = pytest.mark.anyio

SIGNATURE = Signature(
    kind="text",
    container="documents",
    features=(),
    methods=("predict",),
    outputs={"predict": OutputSpec(type="BYTES", shape=(-1,))},
    classes=("no", "yes"),
    sklearn_version="1.9.1",
)
RECORD = VersionRecord(
    id="i",
    model_id="m",
    number=3,
    status="ready",
    sha256="a" * 64,
    size_bytes=10,
    format="skops",
    engines={"predict": "native"},
    created_by="u",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    signature=signature_to_json(SIGNATURE),
    report={},
    examples=None,
)


class Predictors:
    """Warms as the test wants."""

    def __init__(self, failure: Exception | None = None, *, is_stuck: bool = False) -> None:
        self.failure = failure
        self.is_stuck = is_stuck
        self.warmed: list[tuple[VersionRef, Signature]] = []

    async def predict(self, call: PredictCall) -> PredictReply:
        """Nobody asks."""
        raise NotImplementedError(call)

    async def warm(self, version: VersionRef, signature: Signature) -> None:
        """Note the version, fail, or never return."""
        if self.is_stuck:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
        self.warmed.append((version, signature))

    async def ping(self) -> None:
        """Answer."""


async def test_the_predictors_get_all_they_need() -> None:
    predictors = Predictors()

    await warm(predictors, RECORD, timeout_s=5)

    ((ref, signature),) = predictors.warmed
    assert (ref.key, ref.sha256, ref.size_bytes) == ("m/3", "a" * 64, 10)
    assert ref.engines == {"predict": "native"}
    assert signature == SIGNATURE


async def test_a_failure_keeps_its_class_and_says_what_did_not_happen() -> None:
    failure = ModelUnavailable("the store is away", retry_after_s=7)

    with pytest.raises(
        ModelUnavailable, match=r"production was not moved.*store is away"
    ) as caught:
        await warm(Predictors(failure), RECORD, timeout_s=5)

    assert caught.value.retry_after_s == 7


async def test_warming_ends_with_the_deadline() -> None:
    with pytest.raises(ModelLoading, match="production was not moved"):
        await warm(Predictors(is_stuck=True), RECORD, timeout_s=0.01)

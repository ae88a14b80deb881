"""The Predictor with real estimators and a shelf of bytes in place of the Loader."""

import asyncio
import hashlib
import pickle
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsRegressor

from cluster.contracts import Batch, Method, PredictCall, PredictReply, Signature, VersionRef
from cluster.errors import (
    ArtifactCorrupt,
    DeadlineExceeded,
    InvalidInput,
    ModelLoading,
    ModelUnavailable,
    Overloaded,
    PlatformError,
    PredictionFailed,
    ReplicaUnavailable,
    UploadRefused,
)
from cluster.request_context import request_id_var
from cluster.settings import Settings
from deployments import predictor as predictor_module
from deployments import served_model
from deployments.predictor import Predictor
from deployments.served_model import ServedModel
from deployments.signatures.derive import derive_signature

pytestmark = pytest.mark.anyio
ROWS = np.random.default_rng(0).normal(size=(30, 2))


class Shelf:
    """Bytes by digest; counts what is asked for, and fails or waits when told."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.fetches = 0
        self.failures: list[PlatformError] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self, sha256: str, size_bytes: int) -> bytes:
        self.fetches += 1
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        content = self.contents[sha256]
        assert len(content) == size_bytes
        return content

    def put(self, model_id: str, estimator: BaseEstimator) -> tuple[VersionRef, Signature]:
        content = pickle.dumps(estimator)
        digest = hashlib.sha256(content).hexdigest()
        self.contents[digest] = content
        version = VersionRef(
            model_id=model_id, version=1, sha256=digest, size_bytes=len(content), format="pickle"
        )
        return version, derive_signature(estimator)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def linear(shelf: Shelf) -> tuple[VersionRef, Signature]:
    return shelf.put("linear", LinearRegression().fit(ROWS, ROWS @ [1.0, 2.0] + 3))


@pytest.fixture
async def predictor(shelf: Shelf, tmp_path: Path) -> AsyncIterator[Predictor]:
    made = Predictor(shelf, settings=_settings(tmp_path), lanes=2)
    yield made
    made.close()


def _settings(tmp_path: Path, **values: Any) -> Settings:
    return Settings(_env_file=None, slipway_home=tmp_path, **values)


def _call(
    known: tuple[VersionRef, Signature], *, timeout_s: float = 30.0, method: Method = "predict"
) -> PredictCall:
    version, signature = known
    batch = Batch(rows=3, matrix=np.ascontiguousarray(ROWS[:3]))
    return PredictCall(
        version=version, signature=signature, method=method, batch=batch, timeout_s=timeout_s
    )


async def test_it_answers_what_the_estimator_answers(
    predictor: Predictor, linear: tuple[VersionRef, Signature]
) -> None:
    reply = await predictor.predict(_call(linear))

    np.testing.assert_allclose(reply.values, ROWS[:3] @ [1.0, 2.0] + 3, rtol=1e-12)
    assert reply.engine == "native"
    assert reply.cost_s > 0


async def test_what_runs_for_a_batch_knows_its_requests(
    predictor: Predictor,
    shelf: Shelf,
    linear: tuple[VersionRef, Signature],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the loop and in the threads that build and answer, so that each line logged has them."""
    seen: list[str] = []
    fetch, build = shelf.fetch, served_model.build_served_model

    async def noting_fetch(sha256: str, size_bytes: int) -> bytes:
        seen.append(request_id_var.get())
        return await fetch(sha256, size_bytes)

    def noting_build(*given: Any) -> ServedModel:
        seen.append(request_id_var.get())
        model = build(*given)
        answer = model.answer

        def noting_answer(method: Method, batch: Batch, replica_id: str) -> PredictReply:
            seen.append(request_id_var.get())
            return answer(method, batch, replica_id)

        monkeypatch.setattr(model, "answer", noting_answer)
        return model

    monkeypatch.setattr(shelf, "fetch", noting_fetch)
    monkeypatch.setattr(predictor_module, "build_served_model", noting_build)

    await predictor.predict(replace(_call(linear), request_ids=("r-1", "r-2")))

    assert seen == ["r-1,r-2"] * 3


async def test_a_version_is_fetched_once(
    predictor: Predictor, shelf: Shelf, linear: tuple[VersionRef, Signature]
) -> None:
    await asyncio.gather(*(predictor.predict(_call(linear)) for _ in range(20)))
    await predictor.warm(*linear)

    assert shelf.fetches == 1
    assert predictor.record_autoscaling_stats()["models"] == 1


async def test_warm_loads_before_the_first_call(
    predictor: Predictor, shelf: Shelf, linear: tuple[VersionRef, Signature]
) -> None:
    await predictor.warm(*linear)
    assert shelf.fetches == 1
    await predictor.predict(_call(linear))

    assert shelf.fetches == 1


async def test_every_method_answers(predictor: Predictor, shelf: Shelf) -> None:
    estimator = LogisticRegression().fit(ROWS, (ROWS[:, 0] > 0).astype(int))
    known = shelf.put("classes", estimator)
    for method in known[1].methods:
        reply = await predictor.predict(_call(known, method=method))

        np.testing.assert_allclose(reply.values, getattr(estimator, method)(ROWS[:3]), rtol=1e-12)


async def test_bytes_of_another_digest_are_not_built(
    predictor: Predictor, shelf: Shelf, linear: tuple[VersionRef, Signature]
) -> None:
    content = shelf.contents[linear[0].sha256]
    shelf.contents[linear[0].sha256] = b"X" + content[1:]

    with pytest.raises(ArtifactCorrupt):
        await predictor.predict(_call(linear))


async def test_a_lost_loader_is_asked_again(
    predictor: Predictor,
    shelf: Shelf,
    linear: tuple[VersionRef, Signature],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(predictor_module, "FETCH_PAUSE_S", 0)
    shelf.failures = [ReplicaUnavailable("died"), Overloaded("full")]

    assert (await predictor.predict(_call(linear))).values.shape == (3,)


@pytest.mark.parametrize(
    ("failures", "error"),
    [
        ([ReplicaUnavailable("died")] * 3, ModelUnavailable),
        ([UploadRefused("gate2: fit it again")], ModelUnavailable),
        ([ArtifactCorrupt("rot")], ArtifactCorrupt),
    ],
)
async def test_bytes_that_cannot_be_had_make_one_model_unavailable(
    predictor: Predictor,
    shelf: Shelf,
    linear: tuple[VersionRef, Signature],
    monkeypatch: pytest.MonkeyPatch,
    failures: list[PlatformError],
    error: type[PlatformError],
) -> None:
    monkeypatch.setattr(predictor_module, "FETCH_PAUSE_S", 0)
    other = shelf.put("other", LinearRegression().fit(ROWS, ROWS[:, 0]))
    await predictor.warm(*other)
    shelf.failures = list(failures)
    with pytest.raises(error):
        await predictor.predict(_call(linear))

    assert (await predictor.predict(_call(other))).engine == "native"


async def test_bytes_that_the_gates_refuse_are_never_built(
    predictor: Predictor, shelf: Shelf, linear: tuple[VersionRef, Signature]
) -> None:
    _, signature = linear
    content = b"cos\nsystem\n(S'true'\ntR."
    digest = hashlib.sha256(content).hexdigest()
    shelf.contents[digest] = content
    hostile = VersionRef(
        model_id="h", version=1, sha256=digest, size_bytes=len(content), format="pickle"
    )

    with pytest.raises(ModelUnavailable, match="cannot build"):
        await predictor.predict(_call((hostile, signature)))


async def test_a_model_still_loading_at_the_deadline_says_so_and_is_there_next_time(
    predictor: Predictor, shelf: Shelf, linear: tuple[VersionRef, Signature]
) -> None:
    shelf.gate.clear()
    with pytest.raises(ModelLoading) as caught:
        await predictor.predict(_call(linear, timeout_s=0.05))
    assert caught.value.retry_after_s
    shelf.gate.set()

    assert (await predictor.predict(_call(linear))).values.shape == (3,)
    assert shelf.fetches == 1


class Stuck:
    """Holds every answer of a ServedModel until released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.release = threading.Event()
        real: Callable[..., PredictReply] = ServedModel.answer

        def answer(model: ServedModel, *arguments: Any) -> PredictReply:
            self.release.wait(30)
            return real(model, *arguments)

        monkeypatch.setattr(ServedModel, "answer", answer)


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def test_a_call_past_its_deadline_is_answered_and_fails_the_health_check_at_twice(
    shelf: Shelf,
    tmp_path: Path,
    linear: tuple[VersionRef, Signature],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    predictor = Predictor(shelf, settings=_settings(tmp_path), lanes=2, clock=clock)
    await predictor.warm(*linear)
    stuck = Stuck(monkeypatch)
    try:
        with pytest.raises(DeadlineExceeded):
            await predictor.predict(_call(linear, timeout_s=0.1))
        await predictor.check_health()
        clock.now_s += 0.3
        with pytest.raises(ReplicaUnavailable, match="linear/1 has run"):
            await predictor.check_health()
        assert predictor.record_autoscaling_stats()["degraded"] == 1.0
    finally:
        stuck.release.set()
        predictor.close()


async def test_one_model_that_hangs_leaves_half_of_the_lanes_to_others(
    predictor: Predictor,
    shelf: Shelf,
    linear: tuple[VersionRef, Signature],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = shelf.put("other", LinearRegression().fit(ROWS, ROWS[:, 0]))
    for known in (linear, other):
        await predictor.warm(*known)
    stuck = Stuck(monkeypatch)
    hanging = [asyncio.ensure_future(predictor.predict(_call(linear))) for _ in range(2)]
    waiting = asyncio.ensure_future(predictor.predict(_call(other)))
    while predictor._lanes.busy < 2:  # noqa: ASYNC110  the lanes say when both are taken
        await asyncio.sleep(0)
    assert sorted(predictor._lanes._held) == ["linear/1", "other/1"]
    stuck.release.set()

    assert (await waiting).engine == "native"
    assert len(await asyncio.gather(*hanging)) == 2


async def test_a_model_that_raises_fails_the_call_alone(
    predictor: Predictor, linear: tuple[VersionRef, Signature], monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(self: LinearRegression, rows: object) -> None:
        raise ZeroDivisionError("secret of the library")

    monkeypatch.setattr(LinearRegression, "predict", explode)
    with pytest.raises(PredictionFailed) as caught:
        await predictor.predict(_call(linear))

    assert "secret of the library" not in caught.value.message
    assert predictor.record_autoscaling_stats()["error_share"] == 0.0
    await predictor.check_health()


async def test_a_method_the_model_lacks_is_invalid_input(
    predictor: Predictor, linear: tuple[VersionRef, Signature]
) -> None:
    with pytest.raises(InvalidInput, match="transform"):
        await predictor.predict(_call(linear, method="transform"))


async def test_models_beyond_the_budget_are_evicted(shelf: Shelf, tmp_path: Path) -> None:
    settings = _settings(tmp_path, predictor_cache_bytes=1024**2)
    predictor = Predictor(shelf, settings=settings, lanes=2)
    rows = np.random.default_rng(1).normal(size=(20_000, 2))  # 320 kB, and as much again as y
    for n in range(5):
        neighbours = KNeighborsRegressor(algorithm="brute").fit(rows + n, rows[:, 0])
        await predictor.predict(_call(shelf.put(f"m{n}", neighbours)))
    stats = predictor.record_autoscaling_stats()
    predictor.close()

    assert 0 < stats["model_bytes"] <= 1024**2
    assert 1 <= stats["models"] < 5


async def test_ping_answers_at_once(predictor: Predictor) -> None:
    await asyncio.wait_for(predictor.ping(), 1)
    await predictor.check_health()

"""The short path over a real Loader's store and a sandbox that hands out what vetting would."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cluster.artifacts import note_key, object_key
from cluster.contracts import Batch, Method, VetReport
from cluster.settings import Settings
from deployments.intake.sandbox import Sandbox
from deployments.intake.vetting import vet
from deployments.loader import Loader
from deployments.served_model import build_served_model
from serve_app.coalescing import Coalescer
from serve_app.inference import Inference
from serve_app.local import LocalLoaders
from serve_app.registry.resolution import ResolvedVersion
from serve_app.short_path import RETRY_S, CompiledModels
from tests.system.client import as_bytes
from tests.unit.deployments.told_sandbox import ToldSandbox, request_for
from tests.unit.serve_app.predicting import ALICE, FunctionPredictors, version_ref

pytestmark = pytest.mark.anyio


class InProcess(ToldSandbox):
    """Vets in this process, as the sandbox's child would."""

    async def vet(self, content: bytes, request: Any) -> VetReport:
        self.asked.append(request)
        return await asyncio.to_thread(vet, content, request)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def iris(seed: int = 0) -> tuple[Any, Any]:
    rows, target = load_iris(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0 + seed, max_iter=500))
    return model.fit(rows, target), rows


def forest() -> tuple[Any, Any]:
    rows, target = load_breast_cancer(return_X_y=True)
    return RandomForestClassifier(20, max_depth=6, random_state=0).fit(rows, target), rows


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def loader(tmp_path: Path) -> Iterator[Loader]:
    made = Loader(
        settings=Settings(_env_file=None, slipway_home=tmp_path),
        sandbox=cast("Sandbox", InProcess()),
    )
    yield made
    made.close()


async def uploaded(loader: Loader, model: object, version: int = 1) -> ResolvedVersion:
    content = as_bytes(model, "skops")
    request = request_for(content)
    report = await loader.vet(content, request)
    ref = replace(
        version_ref("m", version),
        sha256=request.sha256,
        size_bytes=request.size_bytes,
        format="skops",
        engines=report.engines,
    )
    return ResolvedVersion(
        ref=ref,
        signature=report.signature,
        model_name="m",
        owner_id=ALICE.user_id,
        feature_bounds={},
        cost_per_row_s=report.cost_per_row_s,
        status="ready",
    )


def short_path(loader: Loader, **options: Any) -> CompiledModels:
    # The bound is for a quiet machine; these tests are about answers.
    return CompiledModels(LocalLoaders(loader), **{"max_bytes": 2**24, "cost_s": 0.1, **options})


async def loaded(path: CompiledModels, resolved: ResolvedVersion, method: Method) -> Any:
    assert path.find_engine(resolved, method, 1) is None
    await asyncio.gather(*path.loading)
    return path.find_engine(resolved, method, 1)


@pytest.mark.parametrize("make", [iris, forest])
async def test_it_answers_exactly_what_a_predictor_answers(
    loader: Loader, make: Callable[[], tuple[Any, Any]], tmp_path: Path
) -> None:
    model, rows = make()
    resolved = await uploaded(loader, model)
    path = short_path(loader)
    content = await loader.fetch(resolved.ref.sha256, resolved.ref.size_bytes)
    settings = Settings(_env_file=None, slipway_home=tmp_path)
    served = build_served_model(content, resolved.ref, resolved.signature, settings)
    await loaded(path, resolved, "predict")

    for method in resolved.signature.methods:
        engine = path.find_engine(resolved, method, 1)
        assert engine is not None
        for row in np.ascontiguousarray(rows[::15]):
            batch = Batch(rows=1, matrix=row.reshape(1, -1))
            np.testing.assert_array_equal(engine(batch), served.answer(method, batch, "p").values)


async def test_the_arrays_travel_by_their_own_digest_and_the_report_without_them(
    loader: Loader, store: Path
) -> None:
    content = as_bytes(iris()[0], "skops")
    report = await loader.vet(content, request_for(content))

    assert report.compiled is not None
    assert report.compiled.content == b""
    assert (store / object_key(report.compiled.sha256)).stat().st_size == report.compiled.size_bytes


async def test_tampered_arrays_are_refused_and_tried_again_later(
    loader: Loader, store: Path
) -> None:
    resolved = await uploaded(loader, iris()[0])
    note = json.loads((store / note_key(resolved.ref.sha256)).read_bytes())
    (verdict,) = note["verdicts"].values()
    arrays = store / object_key(verdict["compiled"]["sha256"])
    whole = arrays.read_bytes()
    clock = Clock()
    path = short_path(loader, clock=clock)
    arrays.unlink()
    arrays.write_bytes(whole[:-1] + b"\x01")

    assert await loaded(path, resolved, "predict") is None
    assert path.find_engine(resolved, "predict", 1) is None
    assert path.loading == ()
    arrays.write_bytes(whole)
    clock.now_s = RETRY_S
    assert await loaded(path, resolved, "predict") is not None


class Told:
    """A Loader that gives these bytes for arrays, as a store that lies would."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    async def fetch_compiled(self, _sha256: str, _size_bytes: int) -> bytes:
        return self.content


@pytest.mark.parametrize(
    "lie", [b"", b"SLPCMP\x01\n", b"\x80\x04N.", b"SLPCMP\x01\n" + b"\xff" * 99]
)
async def test_bytes_that_are_no_model_are_left_to_the_predictors(
    loader: Loader, lie: bytes
) -> None:
    resolved = await uploaded(loader, iris()[0])
    path = CompiledModels(cast("Any", Told(lie)), max_bytes=2**24, cost_s=0.1)

    assert await loaded(path, resolved, "predict") is None
    assert path.size_bytes == 0


async def test_versions_are_told_apart_by_their_bytes(loader: Loader) -> None:
    first, rows = iris(0)
    second, _ = iris(50)
    versions = [await uploaded(loader, first, 1), await uploaded(loader, second, 2)]
    path = short_path(loader)
    for version in versions:
        await loaded(path, version, "predict_proba")
    batch = Batch(rows=1, matrix=np.ascontiguousarray(rows[70:71]))
    current = [0]

    class Alias:
        """An alias that is promoted and rolled back between requests."""

        async def resolve(self, *_: object) -> ResolvedVersion:
            return versions[current[0]]

    inference = Inference(
        catalog=Alias(), coalescer=Coalescer(FunctionPredictors({})), short_path=path
    )
    for current[0] in (0, 1, 0, 1, 1, 0):
        answer = await inference.predict(
            ALICE, "m", None, "predict_proba", decode=lambda _: batch, timeout_s=5
        )
        wanted = (first, second)[current[0]].predict_proba(rows[70:71])
        np.testing.assert_allclose(answer.values, wanted, rtol=1e-12)
        assert answer.resolved.version == current[0] + 1


async def test_what_vetting_gave_to_scikit_learn_stays_there(loader: Loader) -> None:
    resolved = await uploaded(loader, iris()[0])
    native = replace(resolved, ref=replace(resolved.ref, engines={"predict": "native"}))
    path = short_path(loader)

    assert path.find_engine(native, "predict", 1) is None
    assert path.loading == ()
    assert await loaded(path, resolved, "predict_proba") is not None
    assert path.find_engine(native, "predict", 1) is None


async def test_more_rows_than_the_bound_allows_go_to_a_predictor(loader: Loader) -> None:
    path = short_path(loader)
    resolved = await uploaded(loader, forest()[0])
    assert await loaded(path, resolved, "predict") is not None

    assert path.find_engine(resolved, "predict", 2) is not None
    assert path.find_engine(resolved, "predict", 10_000_000) is None


async def test_a_version_whose_row_costs_too_much_is_not_even_fetched(loader: Loader) -> None:
    path = short_path(loader, cost_s=1e-9)

    assert path.find_engine(await uploaded(loader, iris()[0]), "predict", 1) is None
    assert path.loading == ()


async def test_the_longest_unused_models_go_when_the_bytes_are_spent(loader: Loader) -> None:
    versions = [await uploaded(loader, iris(seed)[0], seed + 1) for seed in range(3)]
    one = short_path(loader)
    await loaded(one, versions[0], "predict")
    path = short_path(loader, max_bytes=2 * one.size_bytes)
    await loaded(path, versions[0], "predict")
    await loaded(path, versions[1], "predict")
    assert path.find_engine(versions[0], "predict", 1) is not None
    await loaded(path, versions[2], "predict")

    assert path.size_bytes == 2 * one.size_bytes
    assert path.find_engine(versions[0], "predict", 1) is not None
    assert path.find_engine(versions[1], "predict", 1) is None
    await path.close()
    assert path.loading == ()


async def test_many_first_requests_fetch_once(loader: Loader) -> None:
    resolved = await uploaded(loader, iris()[0])
    path = short_path(loader)
    for _ in range(50):
        path.find_engine(resolved, "predict", 1)

    assert len(path.loading) == 1
    await asyncio.gather(*path.loading)
    assert path.find_engine(resolved, "predict", 1) is not None


async def test_a_verdict_of_other_libraries_gives_arrays_made_anew(
    loader: Loader, store: Path
) -> None:
    resolved = await uploaded(loader, iris()[0])
    path = store / note_key(resolved.ref.sha256)
    note = json.loads(path.read_bytes())
    note["verdicts"] = {"other-libraries": {"accepted": True}}
    path.write_bytes(json.dumps(note).encode())

    assert await loader.fetch_compiled(resolved.ref.sha256, resolved.ref.size_bytes)
    assert len(json.loads(path.read_bytes())["verdicts"]) == 2


async def test_arrays_that_are_gone_are_made_anew(loader: Loader, store: Path) -> None:
    content = as_bytes(iris()[0], "skops")
    request = request_for(content)
    report = await loader.vet(content, request)
    assert report.compiled is not None
    arrays = store / object_key(report.compiled.sha256)
    whole = arrays.read_bytes()
    arrays.unlink()

    assert await loader.fetch_compiled(request.sha256, request.size_bytes) == whole
    assert arrays.exists()

"""Real models through the real sandbox: a locked-down child finds all it needs in memory."""

import hashlib
import io
import os
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import joblib
import numpy as np
import onnx
import pandas as pd
import pytest
import skops.io
from onnx import TensorProto, helper
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from cluster.contracts import Batch, VersionRef, VetReport, VetRequest
from cluster.errors import UploadRefused
from cluster.scheduling import STARTING_NICENESS
from deployments.intake.sandbox import Sandbox
from deployments.intake.vetting import vet
from tests.crashing_model import DEADLY, QUOTIENT, crashing_model, needs_trap

pytestmark = pytest.mark.anyio
ROWS = np.random.default_rng(0).normal(size=(60, 3))
CLASSES = (ROWS[:, 0] > 0).astype(int)
FRAME = pd.DataFrame(
    {
        "size": ROWS[:, 0],
        "kind": np.where(CLASSES, "flat", "house"),
        "built": pd.date_range("2020-01-01", periods=60),
    }
)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    box = Sandbox(wall_clock_s=60)
    box.start()
    yield box
    box.stop()


def _request(content: bytes) -> VetRequest:
    return VetRequest(
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        allowed_formats=("pickle", "joblib", "skops", "onnx"),
    )


async def _vetted(sandbox: Sandbox, content: bytes) -> VetReport:
    return await sandbox.vet(content, _request(content))


def _joblib(estimator: object, compress: object = 0) -> bytes:
    file = io.BytesIO()
    joblib.dump(estimator, file, compress=compress)
    return file.getvalue()


def _on_frame() -> Any:
    encode = make_column_transformer(
        (OneHotEncoder(), ["kind"]), (StandardScaler(), ["size"]), sparse_threshold=0
    )
    return make_pipeline(encode, HistGradientBoostingClassifier(max_iter=3)).fit(
        FRAME[["size", "kind"]], CLASSES
    )


MODELS: dict[str, Callable[[], Any]] = {
    "linear": lambda: LinearRegression().fit(ROWS, ROWS[:, 0]),
    "forest": lambda: RandomForestClassifier(5, random_state=0).fit(ROWS, CLASSES),
    "boosting": lambda: GradientBoostingRegressor(n_estimators=5).fit(ROWS, ROWS[:, 0]),
    "isolation": lambda: IsolationForest(n_estimators=5, random_state=0).fit(ROWS),
    "frame": _on_frame,
    "text": lambda: make_pipeline(CountVectorizer(), MultinomialNB()).fit(
        ["good doctor", "bad price"], [1, 0]
    ),
    "neighbours": lambda: KNeighborsClassifier().fit(ROWS, CLASSES),
    "clusters": lambda: KMeans(2, n_init=1, random_state=0).fit(ROWS),
    "svc": lambda: SVC().fit(ROWS, CLASSES),
    "search": lambda: GridSearchCV(LogisticRegression(), {"C": [1, 2]}, cv=2).fit(ROWS, CLASSES),
    "network": lambda: MLPClassifier((4,), max_iter=300, random_state=0, tol=1).fit(ROWS, CLASSES),
    "process": lambda: GaussianProcessRegressor().fit(ROWS, ROWS[:, 0]),
    "components": lambda: make_pipeline(StandardScaler(), PCA(2)).fit(ROWS),
}


@pytest.mark.parametrize("name", MODELS)
async def test_a_child_says_what_the_same_gates_say_outside(sandbox: Sandbox, name: str) -> None:
    content = pickle.dumps(MODELS[name]())
    inside, outside = await _vetted(sandbox, content), vet(content, _request(content))

    assert inside.signature == outside.signature
    assert inside.canary == outside.canary
    assert inside.libraries == outside.libraries


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)])
async def test_joblib_files_are_vetted(sandbox: Sandbox, compress: object) -> None:
    report = await _vetted(sandbox, _joblib(MODELS["forest"](), compress))

    assert report.format == "joblib"


@pytest.mark.parametrize("name", ["linear", "forest", "frame"])
async def test_skops_files_are_vetted(sandbox: Sandbox, name: str) -> None:
    report = await _vetted(sandbox, skops.io.dumps(MODELS[name]()))

    assert report.format == "skops"


async def test_onnx_files_are_vetted(sandbox: Sandbox) -> None:
    node = helper.make_node(
        "LinearRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        coefficients=[1.0, 2.0, 3.0],
        intercepts=[0.5],
    )
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])
    model = helper.make_model(
        helper.make_graph([node], "linear", [x], [y]),
        opset_imports=[helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("", 18)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    report = await _vetted(sandbox, model.SerializeToString())

    assert (report.format, report.engines["predict"]) == ("onnx", "onnx")


async def test_a_hostile_pickle_is_refused_by_its_name(sandbox: Sandbox) -> None:
    content = b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R."
    with pytest.raises(UploadRefused) as caught:
        await _vetted(sandbox, content)

    assert caught.value.context["gate"] == "gate2"
    assert "posix.system" in caught.value.message


async def test_a_model_that_needs_more_memory_than_it_may_is_refused() -> None:
    # 80 MB of distinct numbers: no ratio gives it away, only the address space does.
    rows = np.random.default_rng(0).normal(size=(2_000_000, 5))
    content = pickle.dumps(KNeighborsClassifier(algorithm="brute").fit(rows, rows[:, 0] > 0))
    box = Sandbox(memory_bytes=1024**2, wall_clock_s=60)
    box.start()
    try:
        with pytest.raises(UploadRefused) as caught:
            await _vetted(box, content)
    finally:
        box.stop()

    assert caught.value.context["reason"] == "memory"


def _version(content: bytes, report: VetReport) -> VersionRef:
    return VersionRef(
        model_id="m",
        version=1,
        sha256="",
        size_bytes=len(content),
        format=report.format,
        engines=report.engines,
    )


async def test_a_harmless_batch_replays_and_a_raising_one_is_no_crash(sandbox: Sandbox) -> None:
    content = pickle.dumps(MODELS["forest"]())
    report = await _vetted(sandbox, content)
    version = _version(content, report)
    fine, narrow = np.zeros((2, 3)), np.zeros((2, 1))
    answered, raised = [
        await sandbox.replay(
            content, version, report.signature, "predict", Batch(rows=2, matrix=matrix)
        )
        for matrix in (fine, narrow)
    ]

    assert (answered.is_crash, answered.reason) == (False, "answered")
    assert (raised.is_crash, raised.reason) == (False, "raised")


@needs_trap
async def test_a_query_of_death_is_found_out_by_its_replay(sandbox: Sandbox) -> None:
    content = crashing_model()
    report = await _vetted(sandbox, content)
    version = _version(content, report)
    harmless, deadly = [
        await sandbox.replay(
            content,
            version,
            report.signature,
            "predict",
            Batch(rows=1, matrix=np.array([row])),
        )
        for row in (QUOTIENT, DEADLY)
    ]

    assert (harmless.is_crash, harmless.reason) == (False, "answered")
    assert (deadly.is_crash, deadly.reason) == (True, "crash")


def test_the_zygote_gives_way_to_replicas(sandbox: Sandbox) -> None:
    assert sandbox.zygote_pid is not None
    own = os.getpriority(os.PRIO_PROCESS, 0)

    assert os.getpriority(os.PRIO_PROCESS, sandbox.zygote_pid) == min(own + STARTING_NICENESS, 19)

"""The corpus through the whole platform: HTTP, Loader, sandbox, registry."""

import hashlib
import io
import pickle
import socket
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np
import psutil
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures
from sqlalchemy import select

from serve_app.registry.tables import AuditEvent
from tests.integration.intake.conftest import Corpus, HostileFile, Platform
from tests.integration.models_api.real_platform import as_joblib, as_skops, predict, upload
from tests.system.zoo import CASES
from tests.unit.deployments.intake.hostile import call, named, stream, text, value

# Making the corpus and some hundred vettings take minutes on a busy machine.
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(1200)]
MODULES = ("names", "state", "sizes", "skops", "trees", "natives", "onnx")
X = np.random.default_rng(0).normal(size=(60, 4))
#: As many as the Loader vets at a time.
LANES = 2
#: A child is gone this long after its verdict at the latest.
GONE_AFTER_S = 20


async def send(client: httpx.AsyncClient, files: list[HostileFile]) -> list[httpx.Response]:
    """The answers to ``files``, uploaded some at a time."""
    answers: dict[int, httpx.Response] = {}
    lanes = anyio.CapacityLimiter(LANES)

    async def one(number: int, content: bytes) -> None:
        async with lanes:
            answers[number] = await upload(client, content)

    async with anyio.create_task_group() as group:
        for number, file in enumerate(files):
            group.start_soon(one, number, file.content)
    return [answers[number] for number in range(len(files))]


async def refusals(platform: Platform) -> dict[str, dict[str, Any]]:
    """sha256 -> details of every refusal that the audit trail has."""
    query = select(AuditEvent.details).where(AuditEvent.action == "upload.refused")
    rows = await platform.services.database.read(lambda session: session.scalars(query).all())
    return {row["sha256"]: row for row in rows}


def assert_children_end() -> None:
    """No child of a zygote outlives its verdict."""
    zygotes = [
        process
        for process in psutil.Process().children()
        if "deployments.intake.zygote" in process.cmdline()
    ]
    children = [child for zygote in zygotes for child in zygote.children(recursive=True)]
    _, alive = psutil.wait_procs(children, timeout=GONE_AFTER_S)

    assert zygotes
    assert alive == []


async def assert_next_upload_works(platform: Platform) -> None:
    """An honest model is accepted, and answers as scikit-learn does."""
    client = await platform.user()
    model = HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=2).fit(X, X[:, 0])

    made = await upload(client, pickle.dumps(model))

    assert made.status_code == 201, made.text
    np.testing.assert_allclose(
        np.array(await predict(client, X.tolist())), model.predict(X), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("module", MODULES)
async def test_every_hostile_file_is_refused_and_leaves_nothing(
    platform: Platform, corpus: Corpus, module: str
) -> None:
    files = [file for file in corpus.files if f"test_corpus_{module}.py" in file.test]
    client = await platform.user()

    answers = await send(client, files)
    kept = await refusals(platform)

    assert len(files) > 10
    for file, answer in zip(files, answers, strict=True):
        said = f"{file.test}: {answer.status_code} {answer.text}"
        assert answer.status_code == 422, said
        assert answer.json()["code"] in {"upload_refused", "sklearn_version"}, said
        event = kept[hashlib.sha256(file.content).hexdigest()]
        assert event["reason"] == file.reason, said
        assert event["error"] == answer.json()["error"][:500]
    assert corpus.left_marks() == []
    assert_children_end()
    await assert_next_upload_works(platform)


def test_corpus_has_every_numbered_case(corpus: Corpus) -> None:
    found = {part for file in corpus.files for part in file.test.split("test_corpus_")[1:]}

    assert {part.partition(".py")[0] for part in found} == set(MODULES)
    assert len(corpus.files) > 190  # as many as the corpus promises


async def test_17_an_address_in_a_file_is_not_called(platform: Platform) -> None:
    client = await platform.user()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/model"
        for name in ("_fetch_remote", "fetch_file"):
            content = stream(call(named("sklearn.datasets._base", name), text(url)))
            answer = await upload(client, content)
            assert (answer.status_code, answer.json()["code"]) == (422, "upload_refused")

        assert_children_end()
        with pytest.raises(BlockingIOError):
            listener.accept()


async def test_26_a_class_poisoned_in_one_child_is_whole_in_the_next(platform: Platform) -> None:
    client = await platform.user()
    poison = b"N" + value({"__call__": 7, "link": None}) + b"\x86b"

    answer = await upload(
        client, stream(named("sklearn._loss.loss", "HalfSquaredError"), poison, protocol=4)
    )

    assert answer.status_code == 422, answer.text
    await assert_next_upload_works(platform)  # a model whose loss is that class


def _wide_polynomial() -> Any:
    # 40 features of degree 6 are 9.4 million columns.
    return PolynomialFeatures(degree=6).fit(np.ones((1, 40)))


def _many_categories() -> Any:
    model = OneHotEncoder(sparse_output=False, handle_unknown="ignore")
    return model.fit(np.arange(3_000_000, dtype=np.int64).reshape(-1, 1))


def _wide_hashing() -> Any:
    return HashingVectorizer(n_features=2**30)


@pytest.mark.parametrize("make", [_wide_polynomial, _many_categories, _wide_hashing])
async def test_95_a_model_that_answers_too_wide_rows_is_refused(
    platform: Platform, make: Any
) -> None:
    client = await platform.user()

    answer = await upload(client, pickle.dumps(make(), 5))

    assert (answer.status_code, answer.json()["code"]) == (422, "upload_refused")
    assert_children_end()
    await assert_next_upload_works(platform)


@pytest.mark.parametrize("name", sorted(CASES))
async def test_103_honest_models_of_every_kind_answer_as_scikit_learn(
    platform: Platform, name: str
) -> None:
    case = CASES[name]()
    client = await platform.user()
    expected = case.model.predict(case.rows)

    for save in (pickle.dumps, as_joblib, as_skops):
        if save is as_skops and name == "selected-columns":
            continue  # skops itself cannot save the pandas index among its parameters
        made = await upload(client, save(case.model))
        assert made.status_code in {200, 201}, made.text
        answers = np.array(await predict(client, case.instances))
        await client.delete("/api/v1/models/model")
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(answers, expected, rtol=1e-12)
        else:
            assert answers.tolist() == expected.tolist()


@pytest.mark.parametrize(
    "filename",
    [
        "../../x",
        "x" * 300,
        "a\x00b.pkl",
        "\N{RIGHT-TO-LEFT OVERRIDE}lkp.model",
        "CON",
        "/etc/passwd",
    ],
)
async def test_104_the_name_of_the_file_is_never_used(
    platform: Platform, filename: str, tmp_path: Path
) -> None:
    client = await platform.user()
    content = pickle.dumps(LogisticRegression().fit(X, X[:, 0] > len(filename) / 1000))

    answer = await client.post(
        "/api/v1/models",
        files={"file": (filename, io.BytesIO(content))},
        data={"name": "model"},
    )

    home = platform.services.settings.slipway_home
    stored = {path.name for path in home.rglob("*") if path.is_file()}
    assert answer.status_code in {201, 400, 422}, answer.text
    if answer.status_code == 201:
        assert any(hashlib.sha256(content).hexdigest() in name for name in stored)
    assert not any(name in filename for name in stored)


async def test_104_the_same_bytes_at_once_are_stored_once(platform: Platform) -> None:
    client = await platform.user()
    first = pickle.dumps(LogisticRegression().fit(X, X[:, 0] > 0.1))
    second = pickle.dumps(LogisticRegression().fit(X, X[:, 0] > 0.2))
    assert (await upload(client, first)).status_code == 201
    answers = []

    async def again() -> None:
        files = {"file": ("model", second)}
        answers.append(await client.post("/api/v1/models/model/versions", files=files))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(again)

    assert sorted(answer.status_code for answer in answers) == [200, 200, 201]
    assert {answer.json()["version"] for answer in answers} == {2}

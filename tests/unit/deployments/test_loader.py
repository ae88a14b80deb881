"""The Loader with a real file store and a sandbox that says what it is told."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from cluster.artifacts import object_key
from cluster.artifacts_files import FileArtifacts
from cluster.contracts import Batch, VersionRef
from cluster.errors import (
    ArtifactCorrupt,
    InsecureSettings,
    ModelUnavailable,
    ReplicaUnavailable,
    StorageFull,
    UploadRefused,
)
from cluster.settings import Settings
from deployments.intake.operator_names import limits_of, read_extra_names
from deployments.intake.outcomes import Replay
from deployments.intake.sandbox import Sandbox
from deployments.loader import Loader
from deployments.verdicts import Verdicts
from tests.unit.deployments.told_sandbox import REPORT, SIGNATURE, ToldSandbox, request_for

pytestmark = pytest.mark.anyio
CONTENT = b"bytes of a model" * 10
REQUEST = request_for(CONTENT)
NewLoader = Callable[[ToldSandbox], Loader]


def _settings(tmp_path: Path, **values: Any) -> Settings:
    return Settings(_env_file=None, slipway_home=tmp_path, **values)


@pytest.fixture
def told() -> ToldSandbox:
    return ToldSandbox()


@pytest.fixture
def new_loader(tmp_path: Path) -> Iterator[NewLoader]:
    """Makes loaders over one store, as replicas are."""
    made = []

    def make(sandbox: ToldSandbox) -> Loader:
        made.append(Loader(settings=_settings(tmp_path), sandbox=cast("Sandbox", sandbox)))
        return made[-1]

    yield make
    for loader in made:
        loader.close()


async def test_an_accepted_upload_is_stored_and_released(
    new_loader: NewLoader, told: ToldSandbox
) -> None:
    loader = new_loader(told)

    assert await loader.vet(CONTENT, REQUEST) == REPORT
    assert await loader.fetch(REQUEST.sha256, len(CONTENT)) == CONTENT
    assert len(told.asked) == 1


async def test_a_refused_upload_leaves_nothing(
    new_loader: NewLoader, told: ToldSandbox, tmp_path: Path
) -> None:
    told.refusal = UploadRefused("no", gate="gate2")
    with pytest.raises(UploadRefused, match="no"):
        await new_loader(told).vet(CONTENT, REQUEST)

    assert list(FileArtifacts(tmp_path / "models").objects()) == []


@pytest.mark.parametrize("arrived", [CONTENT[:-1], b"X" + CONTENT[1:]])
async def test_bytes_that_arrive_damaged_are_not_vetted(
    new_loader: NewLoader, told: ToldSandbox, arrived: bytes
) -> None:
    with pytest.raises(ArtifactCorrupt, match="send it again"):
        await new_loader(told).vet(arrived, REQUEST)

    assert told.asked == []


async def test_a_full_store_refuses_before_vetting(
    new_loader: NewLoader, told: ToldSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = new_loader(told)
    monkeypatch.setattr("shutil.disk_usage", lambda _: _Usage(total=10**9, free=100))

    with pytest.raises(StorageFull):
        await loader.vet(CONTENT, REQUEST)
    assert told.asked == []


class _Usage:
    def __init__(self, *, total: int, free: int) -> None:
        self.total, self.free = total, free


async def test_bytes_without_a_verdict_are_vetted_again_with_their_canary(
    new_loader: NewLoader, told: ToldSandbox, tmp_path: Path
) -> None:
    await new_loader(told).vet(CONTENT, REQUEST)
    _forget_verdicts(tmp_path)
    later = ToldSandbox()
    loader = new_loader(later)
    fetched = await asyncio.gather(*(loader.fetch(REQUEST.sha256, len(CONTENT)) for _ in range(5)))

    assert fetched == [CONTENT] * 5
    assert [request.recorded_canary for request in later.asked] == [REPORT.canary]
    assert await loader.fetch(REQUEST.sha256, len(CONTENT)) == CONTENT
    assert len(later.asked) == 1


def _forget_verdicts(tmp_path: Path) -> None:
    """As a library upgrade does: the verdicts there are hold for another key."""
    store = FileArtifacts(tmp_path / "models")
    note = json.loads(store.find_note(REQUEST.sha256) or b"")
    note["verdicts"] = {"other-libraries": {"accepted": True}}
    store.put_note(REQUEST.sha256, json.dumps(note).encode())


async def test_bytes_restored_without_their_note_are_vetted(
    new_loader: NewLoader, told: ToldSandbox, tmp_path: Path
) -> None:
    FileArtifacts(tmp_path / "models").put(CONTENT, REQUEST.sha256)

    assert await new_loader(told).fetch(REQUEST.sha256, len(CONTENT)) == CONTENT
    assert told.asked[0].recorded_canary == {}


async def test_what_the_gates_of_now_refuse_is_not_released_and_not_vetted_twice(
    new_loader: NewLoader, told: ToldSandbox, tmp_path: Path
) -> None:
    FileArtifacts(tmp_path / "models").put(CONTENT, REQUEST.sha256)
    told.refusal = UploadRefused("fit it again", gate="gate2", code="sklearn_version")
    for _ in range(2):
        with pytest.raises(UploadRefused, match="fit it again") as caught:
            await new_loader(told).fetch(REQUEST.sha256, len(CONTENT))
        assert caught.value.public_code == "sklearn_version"

    assert len(told.asked) == 1


@pytest.mark.parametrize(
    "failure",
    [
        UploadRefused("took too long", gate="sandbox", reason="timeout"),
        ReplicaUnavailable("lost"),
    ],
)
async def test_what_failed_for_want_of_a_machine_is_tried_again(
    new_loader: NewLoader, told: ToldSandbox, tmp_path: Path, failure: UploadRefused
) -> None:
    FileArtifacts(tmp_path / "models").put(CONTENT, REQUEST.sha256)
    loader = new_loader(told)
    told.refusal = failure
    with pytest.raises(type(failure)):
        await loader.fetch(REQUEST.sha256, len(CONTENT))
    told.refusal = None

    assert await loader.fetch(REQUEST.sha256, len(CONTENT)) == CONTENT


async def test_rotten_and_missing_bytes_are_told_apart(
    new_loader: NewLoader, told: ToldSandbox, tmp_path: Path
) -> None:
    loader = new_loader(told)
    with pytest.raises(ModelUnavailable):
        await loader.fetch(REQUEST.sha256, len(CONTENT))
    await loader.vet(CONTENT, REQUEST)
    path = tmp_path / "models" / object_key(REQUEST.sha256)
    path.unlink()
    path.write_bytes(b"rot")

    with pytest.raises(ArtifactCorrupt):
        await loader.fetch(REQUEST.sha256, len(CONTENT))


async def test_status_shows_sandbox_and_store(new_loader: NewLoader, told: ToldSandbox) -> None:
    status = await new_loader(told).status()

    assert status.sandbox.is_whole
    assert status.storage_ok
    assert 0 < status.storage_free_bytes <= status.storage_total_bytes


async def test_a_store_that_is_away_shows_and_fails_no_health_check(
    new_loader: NewLoader, told: ToldSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = new_loader(told)

    def away(path: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("shutil.disk_usage", away)

    assert not (await loader.status()).storage_ok
    await loader.check_health()


async def test_a_lost_sandbox_fails_the_health_check(
    new_loader: NewLoader, told: ToldSandbox
) -> None:
    loader = new_loader(told)
    await loader.check_health()
    told.is_alive = False

    with pytest.raises(ReplicaUnavailable, match="sandbox is lost"):
        await loader.check_health()


async def test_files_that_wait_count_as_utilisation(
    new_loader: NewLoader, told: ToldSandbox
) -> None:
    told.utilisation = 1.5

    stats = new_loader(told).record_autoscaling_stats()

    assert (stats["utilisation"], stats["sandbox"]) == (1.5, 1.0)
    assert 0 < stats["memory_share"] < 1


async def test_a_suspected_batch_is_replayed_in_the_sandbox(
    new_loader: NewLoader, told: ToldSandbox
) -> None:
    loader = new_loader(told)
    await loader.vet(CONTENT, REQUEST)
    version = VersionRef(
        model_id="m", version=1, sha256=REQUEST.sha256, size_bytes=len(CONTENT), format="skops"
    )
    batch = Batch(rows=1, matrix=np.zeros((1, 1)))

    replay = await loader.replay(version, SIGNATURE, "predict", batch)
    assert replay == Replay(is_crash=True, reason="crash")


async def test_closing_ends_the_sandbox(new_loader: NewLoader, told: ToldSandbox) -> None:
    new_loader(told).close()

    assert told.is_stopped


def test_verdicts_of_other_libraries_are_kept_for_a_rollback(tmp_path: Path) -> None:
    store = FileArtifacts(tmp_path)
    for number in range(20):
        Verdicts(store, f"libraries-{number}").accept(REQUEST.sha256, {"answers": number})

    assert Verdicts(store, "libraries-19").find(REQUEST.sha256) is not None
    assert Verdicts(store, "libraries-12").find(REQUEST.sha256) is not None
    assert Verdicts(store, "libraries-11").find(REQUEST.sha256) is None
    assert Verdicts(store, "any").find_canary(REQUEST.sha256) == {"answers": 0}


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"no json",
        b"[]",
        b'{"verdicts": 3}',
        b'{"verdicts": {"k": 7}}',
        b'{"verdicts": {"k": {}}}',
    ],
)
def test_a_note_that_cannot_be_read_is_no_verdict(tmp_path: Path, note: bytes) -> None:
    store = FileArtifacts(tmp_path)
    store.put_note(REQUEST.sha256, note)

    assert Verdicts(store, "k").find(REQUEST.sha256) is None
    assert Verdicts(store, "k").find_canary(REQUEST.sha256) == {}


def test_the_operators_list_is_exact_names(tmp_path: Path) -> None:
    path = tmp_path / "names"
    path.write_text("# ours\nacme.steps.Clean\n\nacme.steps.Scale  # twice\n")

    assert read_extra_names(_settings(tmp_path, intake_extra_names=path)) == {
        "acme.steps.Clean",
        "acme.steps.Scale",
    }
    assert read_extra_names(_settings(tmp_path)) == frozenset()


@pytest.mark.parametrize("line", ["acme", "acme.*", "acme.steps.", "a b.c"])
def test_a_pattern_on_the_operators_list_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "names"
    path.write_text(line)

    with pytest.raises(InsecureSettings, match=r"module\.qualname"):
        read_extra_names(_settings(tmp_path, intake_extra_names=path))


def test_a_missing_operators_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InsecureSettings, match="cannot be read"):
        read_extra_names(_settings(tmp_path, intake_extra_names=tmp_path / "absent"))


def test_max_model_bytes_bounds_what_a_file_may_inflate_to(tmp_path: Path) -> None:
    limits = limits_of(_settings(tmp_path, max_model_bytes=5 * 1024**2))

    assert (limits.max_inflated_bytes, limits.max_array_bytes) == (5 * 1024**2, 5 * 1024**2)

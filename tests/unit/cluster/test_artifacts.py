"""One suite for both adapters of the artifact store; S3 is moto's server on loopback."""

import hashlib
import os
import stat
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cluster.artifacts import ArtifactStore, note_key, object_key, open_store
from cluster.artifacts_files import FileArtifacts
from cluster.errors import ArtifactCorrupt, InsecureSettings, ModelUnavailable, StorageFull
from cluster.settings import Settings
from tests.s3 import s3_server

CONTENT = b"a fitted model, or what stands for one\n" * 50
DIGEST = hashlib.sha256(CONTENT).hexdigest()
#: Overwrites stored bytes behind the store's back.
Damage = Callable[[str, bytes], None]


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    with s3_server() as url:
        yield url


def _settings(tmp_path: Path, **values: Any) -> Settings:
    return Settings(_env_file=None, slipway_home=tmp_path, **values)


@pytest.fixture
def aws_key_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        path = tmp_path / name
        path.write_text("testing\n")
        monkeypatch.setenv(f"{name}_FILE", str(path))
    monkeypatch.setenv("AWS_REGION", "us-east-1")


@pytest.fixture(params=["file", "s3"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[ArtifactStore, Damage]:
    if request.param == "file":
        store = open_store(_settings(tmp_path))
        return store, lambda key, content: _overwrite(tmp_path / "models" / key, content)
    request.getfixturevalue("aws_key_files")
    return _open_s3(request.getfixturevalue("s3_endpoint"), tmp_path)


def _overwrite(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


def _open_s3(endpoint: str, tmp_path: Path) -> tuple[ArtifactStore, Damage]:
    boto3 = pytest.importorskip("boto3")
    bucket = f"models-{uuid.uuid4().hex[:12]}"
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )
    client.create_bucket(Bucket=bucket)
    store = open_store(
        _settings(
            tmp_path, artifact_store=f"s3://{bucket}/some/prefix", artifact_store_endpoint=endpoint
        )
    )

    def damage(key: str, content: bytes) -> None:
        client.put_object(Bucket=bucket, Key=f"some/prefix/{key}", Body=content)

    return store, damage


def test_returns_what_was_put(opened: tuple[ArtifactStore, Damage]) -> None:
    store, _ = opened
    store.put(CONTENT, DIGEST)

    assert store.has(DIGEST)
    assert store.get(DIGEST, len(CONTENT)) == CONTENT


def test_a_put_is_idempotent_also_at_once(opened: tuple[ArtifactStore, Damage]) -> None:
    store, _ = opened
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: store.put(CONTENT, DIGEST), range(16)))

    assert [entry.sha256 for entry in store.objects()] == [DIGEST]
    assert store.get(DIGEST, len(CONTENT)) == CONTENT


def test_bytes_under_a_foreign_digest_are_not_kept(opened: tuple[ArtifactStore, Damage]) -> None:
    store, _ = opened
    with pytest.raises(ArtifactCorrupt):
        store.put(b"other bytes", DIGEST)

    assert not store.has(DIGEST)


@pytest.mark.parametrize(
    "stored",
    [
        CONTENT[:-1],  # truncated
        b"X" + CONTENT[1:],  # same size, other bytes
        b"",
    ],
)
def test_rotten_bytes_are_never_returned(
    opened: tuple[ArtifactStore, Damage], stored: bytes
) -> None:
    store, damage = opened
    store.put(CONTENT, DIGEST)
    damage(object_key(DIGEST), stored)

    with pytest.raises(ArtifactCorrupt, match=DIGEST):
        store.get(DIGEST, len(CONTENT))


def test_a_put_heals_rotten_bytes(opened: tuple[ArtifactStore, Damage]) -> None:
    store, damage = opened
    store.put(CONTENT, DIGEST)
    damage(object_key(DIGEST), b"rot")
    store.put(CONTENT, DIGEST)

    assert store.get(DIGEST, len(CONTENT)) == CONTENT


def test_a_missing_object_is_unavailable(opened: tuple[ArtifactStore, Damage]) -> None:
    store, _ = opened
    with pytest.raises(ModelUnavailable, match="no artifact"):
        store.get(DIGEST, 10)

    assert not store.has(DIGEST)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, DIGEST + "/x", "\0" * 64])
def test_what_is_no_digest_names_no_object(
    opened: tuple[ArtifactStore, Damage], digest: str
) -> None:
    store, _ = opened
    with pytest.raises(ModelUnavailable, match="no sha256"):
        store.get(digest, 1)


def test_delete_forgets_object_and_note_and_may_be_repeated(
    opened: tuple[ArtifactStore, Damage],
) -> None:
    store, _ = opened
    store.put(CONTENT, DIGEST)
    store.put_note(DIGEST, b"{}")
    store.delete(DIGEST)
    store.delete(DIGEST)

    assert (store.has(DIGEST), store.find_note(DIGEST)) == (False, None)


def test_objects_lists_size_and_age(opened: tuple[ArtifactStore, Damage]) -> None:
    store, _ = opened
    store.put(CONTENT, DIGEST)
    other = hashlib.sha256(b"2").hexdigest()
    store.put(b"2", other)
    store.put_note(DIGEST, b"{}")

    found = {entry.sha256: entry for entry in store.objects()}
    assert {key: entry.size_bytes for key, entry in found.items()} == {
        DIGEST: len(CONTENT),
        other: 1,
    }
    assert found[DIGEST].modified_at_s > 1_600_000_000


def test_a_note_is_replaced_whole(opened: tuple[ArtifactStore, Damage]) -> None:
    store, _ = opened
    assert store.find_note(DIGEST) is None
    store.put_note(DIGEST, b"first, and longer")
    store.put_note(DIGEST, b"second")

    assert store.find_note(DIGEST) == b"second"


def test_files_report_space_and_s3_has_no_bound(opened: tuple[ArtifactStore, Damage]) -> None:
    store, _ = opened
    space = store.space()

    if isinstance(store, FileArtifacts):
        assert space.free_bytes is not None
        assert space.total_bytes is not None
        assert 0 < space.free_bytes <= space.total_bytes
    else:
        assert (space.free_bytes, space.total_bytes) == (None, None)


@pytest.mark.usefixtures("aws_key_files")
def test_an_s3_store_that_is_away_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.artifacts_s3.RETRY_TIMEOUT_S", 0)
    store = open_store(
        _settings(
            tmp_path, artifact_store="s3://nobody", artifact_store_endpoint="http://127.0.0.1:1"
        )
    )
    with pytest.raises(ModelUnavailable, match="cannot be read") as caught:
        store.get(DIGEST, 1)

    assert "127.0.0.1" not in str(caught.value)


def test_object_files_are_read_only_and_fanned_out(tmp_path: Path) -> None:
    FileArtifacts(tmp_path).put(CONTENT, DIGEST)
    path = tmp_path / "objects" / DIGEST[:2] / DIGEST[2:4] / DIGEST

    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_full_disk_is_storage_full_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileArtifacts(tmp_path)

    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageFull, match="free some space"):
        store.put(CONTENT, DIGEST)

    assert not store.has(DIGEST)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_an_unreadable_store_is_unavailable(tmp_path: Path) -> None:
    store = FileArtifacts(tmp_path)
    path = tmp_path / object_key(DIGEST)
    path.mkdir(parents=True)  # reading a directory fails for root as well

    with pytest.raises(ModelUnavailable, match="other models go on"):
        store.get(DIGEST, 1)


def test_a_write_cut_off_by_a_crash_is_swept_a_day_later(tmp_path: Path) -> None:
    FileArtifacts(tmp_path)
    old, fresh = tmp_path / "tmp" / "old", tmp_path / "tmp" / "fresh"
    for path in (old, fresh):
        path.touch()
    os.utime(old, (1, 1))
    FileArtifacts(tmp_path)

    assert [path.name for path in (tmp_path / "tmp").iterdir()] == ["fresh"]


def test_a_file_url_names_the_directory(tmp_path: Path) -> None:
    store = open_store(_settings(tmp_path, artifact_store=f"file://{tmp_path}/my%20store"))
    store.put(CONTENT, DIGEST)

    assert (tmp_path / "my store" / object_key(DIGEST)).is_file()


def test_an_unknown_url_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InsecureSettings, match="gs://bucket"):
        open_store(_settings(tmp_path, artifact_store="gs://bucket"))


def test_notes_lie_beside_objects_not_among_them() -> None:
    assert note_key(DIGEST) == f"notes/{DIGEST[:2]}/{DIGEST[2:4]}/{DIGEST}.json"

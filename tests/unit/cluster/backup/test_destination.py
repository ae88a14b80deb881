"""One suite for both kinds of destination; S3 is moto's server on loopback."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.backup.destination import Destination, open_destination, read_whole
from cluster.backup.destination_files import DirectoryDestination
from cluster.backup.faults import BackupCorrupt, BackupFailed, BackupRefused
from cluster.settings import Settings
from tests.s3 import s3_server


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(params=["directory", "s3"])
def destination(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Destination:
    settings = Settings(_env_file=None, slipway_home=tmp_path)
    if request.param == "directory":
        return open_destination(str(tmp_path / "backups"), settings)
    boto3 = pytest.importorskip("boto3")
    endpoint = request.getfixturevalue("endpoint")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    bucket = f"backups-{uuid.uuid4().hex[:8]}"
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket=bucket)
    return open_destination(f"s3://{bucket}/some/where", settings, endpoint=endpoint)


@pytest.mark.parametrize("size", [0, 1, 20 * 1024 * 1024 + 3])
def test_what_was_put_is_read(destination: Destination, size: int) -> None:
    content = os.urandom(size)
    chunks = (content[start : start + 700_001] for start in range(0, size, 700_001))

    stored = destination.put("backups/name/file", chunks)

    assert stored == size
    assert read_whole(destination, "backups/name/file") == content


def test_a_put_replaces(destination: Destination) -> None:
    destination.put("a/b", [b"old"])
    destination.put("a/b", [b"new"])

    assert read_whole(destination, "a/b") == b"new"


def test_sizes_are_those_below_the_prefix(destination: Destination) -> None:
    destination.put("objects/plain/aa/x", [b"12"])
    destination.put("backups/n/y", [b"123"])

    assert destination.sizes("objects") == {"objects/plain/aa/x": 2}
    assert destination.sizes("backups") == {"backups/n/y": 3}
    assert destination.sizes("nothing") == {}


def test_what_is_missing_is_told_by_name(destination: Destination) -> None:
    with pytest.raises(BackupCorrupt, match="a/b"):
        read_whole(destination, "a/b")


def test_a_delete_may_be_repeated(destination: Destination) -> None:
    destination.put("a/b", [b"x"])
    destination.delete("a/b")
    destination.delete("a/b")

    assert destination.sizes("a") == {}


def test_a_stream_that_fails_leaves_what_was_there(destination: Destination) -> None:
    def failing() -> Iterator[bytes]:
        yield b"half"
        raise BackupFailed("the source failed")

    destination.put("a/b", [b"old"])

    with pytest.raises(BackupFailed):
        destination.put("a/b", failing())

    assert read_whole(destination, "a/b") == b"old"
    assert list(destination.sizes("a")) == ["a/b"]


def test_only_one_command_writes_to_a_directory(tmp_path: Path) -> None:
    first, second = (DirectoryDestination(tmp_path) for _ in range(2))

    with first.exclusive() as is_alone:
        assert is_alone
        with pytest.raises(BackupRefused, match="another command"), second.exclusive():
            pass


def test_a_directory_is_its_owners_alone(tmp_path: Path) -> None:
    destination = DirectoryDestination(tmp_path / "backups")
    destination.put("a/b", [b"x"])

    modes = {path.stat().st_mode & 0o077 for path in (tmp_path / "backups").rglob("*")}

    assert modes == {0}


def test_what_a_killed_write_left_goes_with_the_next_command(tmp_path: Path) -> None:
    left = tmp_path / "objects" / ".writing-abc"
    left.parent.mkdir()
    left.write_bytes(b"half")

    with DirectoryDestination(tmp_path).exclusive():
        assert not left.exists()


def test_another_kind_of_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackupFailed, match="neither"):
        open_destination("ftp://host/x", Settings(_env_file=None, slipway_home=tmp_path))

"""The manifest and its seal."""

from datetime import UTC, datetime

import pytest

from cluster.backup.crypt import BackupKey
from cluster.backup.faults import BackupCorrupt, BackupRefused
from cluster.backup.manifest import (
    FILES,
    FileEntry,
    Manifest,
    check_seal,
    moment_of,
    name_of,
    seal,
)

KEY = BackupKey(salt=b"s" * 16, master=b"m" * 32)
MANIFEST = Manifest(
    name="20261123T020000Z",
    created_at="2026-11-23T02:00:00+00:00",
    slipway_version="0.1.0",
    schema="0001",
    postgres_version="18.4",
    key=None,
    files={name: FileEntry(sha256="0" * 64, size_bytes=10) for name in FILES},
    artifacts={"a" * 64: 5},
    rows={"users": 1},
)


def test_a_manifest_survives_being_written_and_read() -> None:
    assert Manifest.from_bytes(MANIFEST.to_bytes()) == MANIFEST


def test_its_size_counts_every_file() -> None:
    assert MANIFEST.size_bytes == 35


@pytest.mark.parametrize("place", range(0, len(MANIFEST.to_bytes()), 7))
def test_a_flipped_bit_breaks_the_seal_or_the_manifest(place: int) -> None:
    content = bytearray(MANIFEST.to_bytes())
    found = seal(bytes(content), KEY)
    content[place] ^= 1

    with pytest.raises(BackupCorrupt):
        check_seal(bytes(content), found, KEY)


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b"{", b"{ "),  # the same, written otherwise
        (b'"format": 1', b'"format": 2'),  # a later format
        (b'"a' + b"a" * 63, b'"../' + b"a" * 61),  # a path where a digest should be
        (b'"rows"', b'"lines"'),  # another member
        (b'"database.dump"', b'"../database.dump"'),  # another file
        (b'"20261123T020000Z"', b'"../20261123T020000Z"'),  # no name of ours
        (b'"18.4"', b'"new"'),  # no version
    ],
)
def test_what_is_no_manifest_of_ours_is_refused(was: bytes, becomes: bytes) -> None:
    content = MANIFEST.to_bytes()
    assert was in content

    with pytest.raises(BackupCorrupt):
        Manifest.from_bytes(content.replace(was, becomes, 1))


def test_a_seal_without_the_key_is_none() -> None:
    content = MANIFEST.to_bytes()

    with pytest.raises(BackupCorrupt, match="passphrase"):
        check_seal(content, seal(content, None), KEY)


def test_a_name_tells_when_the_backup_was_begun() -> None:
    moment = datetime(2026, 11, 23, 2, 0, 5, tzinfo=UTC)

    assert name_of(moment) == "20261123T020005Z"
    assert moment_of("20261123T020005Z-2") == moment


def test_what_is_no_name_is_refused() -> None:
    with pytest.raises(BackupRefused, match="backup list"):
        moment_of("../../etc")

"""What prune deletes and what it keeps."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cluster.backup.catalogue import clear_incomplete, complete_names
from cluster.backup.destination import (
    INCOMPLETE,
    MANIFEST,
    SEAL,
    Destination,
    backup_key,
    object_key,
)
from cluster.backup.destination_files import DirectoryDestination
from cluster.backup.manifest import FILES, FileEntry, Manifest, name_of, seal
from cluster.backup.retention import prune
from cluster.backup.streams import Watch

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
def destination(tmp_path: Path) -> DirectoryDestination:
    return DirectoryDestination(tmp_path)


def made(destination: Destination, *, days_ago: float, contents: list[bytes]) -> str:
    """A backup of that age with these model files."""
    name = name_of(NOW - timedelta(days=days_ago))
    artifacts = {}
    for content in contents:
        sha256 = hashlib.sha256(content).hexdigest()
        artifacts[sha256] = len(content)
        destination.put(object_key(sha256, None), [content])
    manifest = Manifest(
        name=name,
        created_at="",
        slipway_version="0.1.0",
        schema="0001",
        postgres_version="18.4",
        key=None,
        files={file: FileEntry(sha256="0" * 64, size_bytes=0) for file in FILES},
        artifacts=artifacts,
        rows={},
    )
    for file in FILES:
        destination.put(backup_key(name, file), [b""])
    destination.put(backup_key(name, MANIFEST), [manifest.to_bytes()])
    destination.put(backup_key(name, SEAL), [seal(manifest.to_bytes(), None)])
    return name


def test_seven_days_are_kept(destination: DirectoryDestination) -> None:
    kept = [made(destination, days_ago=days, contents=[b"x"]) for days in (6.9, 1)]
    old = made(destination, days_ago=7.1, contents=[b"x"])

    pruned = prune(destination, now=NOW)

    assert pruned.backups == (old,)
    assert complete_names(destination) == kept


def test_the_newest_is_kept_whatever_its_age(destination: DirectoryDestination) -> None:
    made(destination, days_ago=40, contents=[b"x"])
    newest = made(destination, days_ago=30, contents=[b"x"])

    prune(destination, now=NOW)

    assert complete_names(destination) == [newest]


def test_model_files_go_with_the_last_backup_that_needs_them(
    destination: DirectoryDestination,
) -> None:
    made(destination, days_ago=10, contents=[b"old", b"both"])
    made(destination, days_ago=1, contents=[b"both"])

    pruned = prune(destination, now=NOW)

    assert (pruned.files, pruned.size_bytes) == (1, 3)
    assert list(destination.sizes("objects")) == [
        object_key(hashlib.sha256(b"both").hexdigest(), None)
    ]


def test_a_damaged_manifest_keeps_every_model_file(destination: DirectoryDestination) -> None:
    made(destination, days_ago=10, contents=[b"old"])
    damaged = made(destination, days_ago=2, contents=[b"needed"])
    made(destination, days_ago=1, contents=[b"new"])
    destination.put(backup_key(damaged, MANIFEST), [b"{}"])

    pruned = prune(destination, now=NOW)

    assert damaged in pruned.left
    assert len(destination.sizes("objects")) == 3


@pytest.mark.parametrize("step", range(1, 4))
def test_a_prune_that_dies_half_way_is_ended_by_the_next(
    destination: DirectoryDestination, step: int
) -> None:
    old = made(destination, days_ago=10, contents=[b"old"])
    newest = made(destination, days_ago=1, contents=[b"new"])
    deleted = 0

    class Dying(DirectoryDestination):
        def delete(self, key: str) -> None:
            nonlocal deleted
            deleted += 1
            if deleted == step:
                raise KeyboardInterrupt
            super().delete(key)

    with pytest.raises(KeyboardInterrupt):
        prune(Dying(Path(destination.name)), now=NOW)

    prune(destination, now=NOW)

    assert complete_names(destination) == [newest]
    assert not any(old in key for key in destination.sizes("backups"))
    assert len(destination.sizes("objects")) == 1


def test_where_others_may_write_only_old_remains_are_cleared(
    destination: DirectoryDestination,
) -> None:
    fresh, stale = name_of(NOW - timedelta(hours=1)), name_of(NOW - timedelta(days=2))
    for name in (fresh, stale):
        destination.put(backup_key(name, INCOMPLETE), [b""])

    cleared = clear_incomplete(destination, now=NOW, is_alone=False)

    assert cleared == [stale]


def test_every_step_of_a_sweep_is_watched(destination: DirectoryDestination) -> None:
    made(destination, days_ago=10, contents=[b"old"])
    made(destination, days_ago=1, contents=[b"new"])
    steps: list[str] = []

    prune(destination, now=NOW, watch=Watch(at=steps.append))

    assert [step.split()[0] for step in steps] == ["delete", "sweep"]

"""Damage of every kind, done to real backups: each is noticed before anything is touched."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster.backup.crypt import Keys
from cluster.backup.destination_files import DirectoryDestination
from cluster.backup.faults import BackupCorrupt
from cluster.backup.manifest import Manifest, seal
from cluster.backup.restore import RestoreJob, restore_backup
from cluster.backup.verify import Verifier
from tests.integration.backup.platforms import PASSPHRASE, Platform

KEYS = {"plain": Keys(None), "sealed": Keys(PASSPHRASE)}
FILES = (
    "database.dump",
    "notes.jsonl.gz",
    "configuration.json",
    "manifest.json",
    "manifest.sum",
    "object",
)
Damage = Callable[[Path], None]


class Untouchable:
    """A target or store that nobody may look at."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"{name} was used before the damage was seen")


@pytest.fixture(scope="module")
def backups(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two backups in clear, and two under a passphrase."""
    places = {}
    for kind, keys in KEYS.items():
        places[kind] = tmp_path_factory.mktemp(kind)
        for turn in range(2):
            # Two dumps of the same rows within a second are the same bytes.
            platform.fill(f"{kind}{turn}@example.org", versions=1)
            platform.back_up(DirectoryDestination(places[kind]), keys=keys)
    return places


def newest(root: Path) -> Path:
    return max((root / "backups").iterdir(), key=lambda path: (len(path.name), path.name))


def other(root: Path) -> Path:
    return min((root / "backups").iterdir(), key=lambda path: (len(path.name), path.name))


def named(root: Path, file: str) -> Path:
    if file == "object":
        return min(path for path in (root / "objects").rglob("*") if path.is_file())
    return newest(root) / file


def flipped(file: str, place: float) -> Damage:
    def flip(root: Path) -> None:
        path = named(root, file)
        content = bytearray(path.read_bytes())
        content[min(int(place * len(content)), len(content) - 1)] ^= 1
        path.write_bytes(content)

    return flip


def cut(file: str, left: float) -> Damage:
    def truncate(root: Path) -> None:
        path = named(root, file)
        size = path.stat().st_size
        os.truncate(path, size + left if isinstance(left, int) else int(size * left))

    return truncate


def grown(file: str) -> Damage:
    def grow(root: Path) -> None:
        path = named(root, file)
        path.write_bytes(path.read_bytes() + b"\0")

    return grow


def missing(file: str) -> Damage:
    return lambda root: named(root, file).unlink()


def swapped(*files: str) -> Damage:
    def swap(root: Path) -> None:
        for file in files:
            shutil.copyfile(other(root) / file, newest(root) / file)

    return swap


def swap_objects(root: Path) -> None:
    first, second, *_ = sorted(path for path in (root / "objects").rglob("*") if path.is_file())
    shutil.copyfile(second, first)


def forge(root: Path) -> None:
    """As one would who has no passphrase: another manifest with a digest that fits."""
    path = newest(root) / "manifest.json"
    content = re.sub(rb'"users": \d+', b'"users": 99', path.read_bytes())
    assert Manifest.from_bytes(content).rows["users"] == 99
    path.write_bytes(content)
    mac = (newest(root) / "manifest.sum").read_bytes().splitlines()[-1]
    (newest(root) / "manifest.sum").write_bytes(seal(content, None) + mac + b"\n")


BOTH = [
    *((f"bit {file} {place}", flipped(file, place)) for file in FILES for place in (0, 0.5, 1)),
    *((f"half {file}", cut(file, 0.5)) for file in FILES),
    *((f"byte less {file}", cut(file, -1)) for file in ("database.dump", "manifest.sum", "object")),
    ("emptied dump", cut("database.dump", 0.0)),
    *((f"missing {file}", missing(file)) for file in FILES),
    *((f"grown {file}", grown(file)) for file in ("database.dump", "manifest.json", "object")),
    ("another's manifest", swapped("manifest.json")),
    ("another's manifest and digest", swapped("manifest.json", "manifest.sum")),
    ("another's dump", swapped("database.dump")),
    ("an object in another's place", swap_objects),
]
CASES = [(kind, name, damage) for kind in KEYS for name, damage in BOTH] + [
    ("sealed", "forged without the passphrase", forge)
]


@pytest.mark.parametrize(
    ("kind", "damage"),
    [pytest.param(kind, damage, id=f"{kind}: {name}") for kind, name, damage in CASES],
)
def test_damage_is_noticed_before_anything_is_touched(
    kind: str, damage: Damage, backups: dict[str, Path], tmp_path: Path
) -> None:
    root = tmp_path / "damaged"
    shutil.copytree(backups[kind], root)
    name = newest(root).name

    damage(root)

    destination = DirectoryDestination(root)
    verdicts = Verifier(destination=destination, keys=KEYS[kind]).verify_all()
    assert not all(verdict.is_good for verdict in verdicts)
    with pytest.raises(BackupCorrupt):
        restore_backup(_untouchable(destination, KEYS[kind], name))


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("sealed", Keys("another long passphrase")),  # the wrong one
        ("plain", Keys(PASSPHRASE)),  # made by nobody knows whom
    ],
)
def test_a_backup_of_another_passphrase_is_refused(
    kind: str, keys: Keys, backups: dict[str, Path]
) -> None:
    destination = DirectoryDestination(backups[kind])

    verdicts = Verifier(destination=destination, keys=keys).verify_all()

    assert not any(verdict.is_good for verdict in verdicts)
    with pytest.raises(BackupCorrupt):
        restore_backup(_untouchable(destination, keys, newest(backups[kind]).name))


@pytest.mark.parametrize("kind", KEYS)
def test_undamaged_backups_verify(kind: str, backups: dict[str, Path]) -> None:
    verdicts = Verifier(
        destination=DirectoryDestination(backups[kind]), keys=KEYS[kind]
    ).verify_all()

    assert [verdict.is_good for verdict in verdicts] == [True, True]


def test_there_are_fifty_kinds_of_damage() -> None:
    assert len(CASES) >= 50


def _untouchable(destination: DirectoryDestination, keys: Keys, name: str) -> RestoreJob:
    nobody: Any = Untouchable()
    return RestoreJob(target=nobody, store=nobody, destination=destination, keys=keys, name=name)

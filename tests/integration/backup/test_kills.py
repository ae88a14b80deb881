"""kill -9 at every step of backup and of restore: old data intact, a rerun succeeds."""

import json
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.backup.catalogue import complete_names
from cluster.backup.crypt import Keys
from cluster.backup.destination_files import DirectoryDestination
from cluster.backup.restore import restore_backup
from cluster.backup.verify import Verifier
from tests.integration.backup.platforms import Platform, clone, platform_at

ROOT = Path(__file__).resolve().parents[3]
#: Steps of a backup of eleven new files, and of a restore of them.
BACKUP_STEPS = 20
RESTORE_STEPS = 20
#: From this step of a restore on, the new database is in place.
SWITCHED = 19
TABLES = ("users", "models", "model_versions", "api_keys", "refresh_families")
Kill = Callable[..., int]


@dataclass(frozen=True, kw_only=True)
class Site:
    """A platform, and where its model files lie."""

    platform: Platform
    store: Path
    database: str


@pytest.fixture(scope="module")
def kill() -> Iterator[Kill]:
    """Has a child do the work and kill itself; returns how it ended."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.backup.killed"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert server.stdin is not None
    assert server.stdout is not None

    def ask(what: str, host: Platform, store: Path, destination: Path, at: int) -> int:
        assert server.stdin is not None
        assert server.stdout is not None
        request = {
            "what": what,
            "url": host.url,
            "store": str(store),
            "destination": str(destination),
            "at": at,
        }
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        return int(server.stdout.readline())

    yield ask
    server.stdin.close()
    server.wait(10)
    server.stdout.close()


@pytest.fixture(scope="module")
def make_site(
    postgres_server: str, _template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, int], Site]:
    """Makes a platform with one account."""

    def make(email: str, versions: int) -> Site:
        name = f"kills_{uuid.uuid4().hex[:12]}"
        store = tmp_path_factory.mktemp(name)
        host = platform_at(clone(postgres_server, name, _template_database), store)
        host.fill(email, versions=versions)
        return Site(platform=host, store=store, database=name)

    return make


@pytest.fixture(scope="module")
def new(make_site: Callable[[str, int], Site]) -> Site:
    """What is backed up."""
    return make_site("new@example.org", 11)


@pytest.fixture(scope="module")
def old(make_site: Callable[[str, int], Site]) -> Site:
    """What was backed up before, and what is restored over."""
    return make_site("old@example.org", 2)


@pytest.fixture(scope="module")
def old_backup(old: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A destination with one backup, none of whose files the next one shares."""
    root = tmp_path_factory.mktemp("old-backup")
    old.platform.back_up(DirectoryDestination(root))
    return root


@pytest.fixture(scope="module")
def new_backup(new: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A destination to restore from."""
    root = tmp_path_factory.mktemp("new-backup")
    new.platform.back_up(DirectoryDestination(root))
    return root


@pytest.mark.parametrize("step", range(1, BACKUP_STEPS + 1))
def test_a_killed_backup_harms_no_other_and_a_rerun_succeeds(
    step: int, kill: Kill, new: Site, old_backup: Path, tmp_path: Path
) -> None:
    root = tmp_path / "backups"
    shutil.copytree(old_backup, root)
    destination = DirectoryDestination(root)
    before = complete_names(destination)

    ended = kill("backup", new.platform, new.store, root, step)

    assert ended == -signal.SIGKILL
    assert _are_good(destination)
    again = new.platform.back_up(destination).manifest.name
    assert _are_good(destination)
    assert {*before, again} <= set(complete_names(destination))
    assert not list(root.rglob("incomplete"))


@pytest.mark.parametrize("step", range(1, RESTORE_STEPS + 1))
def test_a_killed_restore_leaves_the_old_data_and_a_rerun_succeeds(
    step: int,
    kill: Kill,
    old: Site,
    new: Site,
    new_backup: Path,
    postgres_server: str,
    tmp_path: Path,
) -> None:
    name = f"victim_{uuid.uuid4().hex[:12]}"
    store = tmp_path / "models"
    shutil.copytree(old.store, store)
    victim = platform_at(clone(postgres_server, name, old.database), store)

    ended = kill("restore", victim, store, new_backup, step)

    assert ended == -signal.SIGKILL
    if step < SWITCHED:
        assert victim.dump_of(*TABLES) == old.platform.dump_of(*TABLES)
        assert victim.unreadable() == []
    else:
        assert victim.emails() == ["new@example.org"]
    restore_backup(victim.restoring(DirectoryDestination(new_backup), is_overwriting=True))
    assert victim.emails() == ["new@example.org"]
    assert victim.dump_of("model_versions") == new.platform.dump_of("model_versions")
    assert victim.unreadable() == []


def _are_good(destination: DirectoryDestination) -> bool:
    verdicts = Verifier(destination=destination, keys=Keys(None)).verify_all()
    return all(verdict.is_good for verdict in verdicts)

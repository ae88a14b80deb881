"""A platform with something in it, and an empty host."""

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.backup.destination_files import DirectoryDestination
from tests.integration.backup.platforms import Platform, clone, platform_at

VERSIONS = 11


@pytest.fixture(scope="module")
def platform(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """One account, one model, eleven versions."""
    made = platform_at(database_url, tmp_path_factory.mktemp("models"))
    made.fill("you@example.org", versions=VERSIONS)
    return made


@pytest.fixture
def empty_host(empty_database_url: str, tmp_path: Path) -> Platform:
    """A database without a table, a store without a file."""
    return platform_at(empty_database_url, tmp_path / "restored")


@pytest.fixture
def make_occupied(
    postgres_server: str, _template_database: str, tmp_path: Path
) -> Callable[[], Platform]:
    """Makes a platform with one account and two versions of its own."""

    def make() -> Platform:
        name = f"occupied_{uuid.uuid4().hex[:12]}"
        host = platform_at(clone(postgres_server, name, _template_database), tmp_path / name)
        host.fill("old@example.org", versions=2)
        return host

    return make


@pytest.fixture
def destination(tmp_path: Path) -> DirectoryDestination:
    """Where backups go."""
    return DirectoryDestination(tmp_path / "backups")

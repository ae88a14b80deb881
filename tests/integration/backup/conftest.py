"""A platform with something in it, and an empty host."""

from pathlib import Path

import pytest

from cluster.backup.destination_files import DirectoryDestination
from tests.integration.backup.platforms import Platform, platform_at

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
def destination(tmp_path: Path) -> DirectoryDestination:
    """Where backups go."""
    return DirectoryDestination(tmp_path / "backups")

"""One real platform for the tests that only use it; those that kill things start their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.client import ApiUser
from tests.system.platform import Platform, running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder starts the real platform, and may wait for a cold start."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.system)
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A running platform with two ingress replicas."""
    with running(tmp_path_factory.mktemp("platform"), WORKERS="2") as started:
        yield started


@pytest.fixture
def user(platform: Platform) -> Iterator[ApiUser]:
    """A fresh publisher."""
    with ApiUser.register(platform.url) as made:
        yield made

"""A catalog, and the follower that moves it when a test says so."""

import pytest

from serve_app.registry.catalog import Catalog
from serve_app.registry.changes import ChangeFollower
from serve_app.registry.database import Database


@pytest.fixture
async def follower(database: Database) -> ChangeFollower:
    """A follower that moves when the test says so."""
    follower = ChangeFollower(database, "catalog", clock=lambda: 0.0)
    await follower.advance()
    return follower


@pytest.fixture
def catalog(database: Database, follower: ChangeFollower) -> Catalog:
    """A catalog that trusts what it knows."""
    return Catalog(database, follower, clock=lambda: 0.0)

"""A catalog, and the follower that moves it when a test says so."""

import pytest

from serve_app.registry.catalog import Catalog
from serve_app.registry.changes import ChangeFollower
from serve_app.registry.database import Database
from serve_app.registry.quotas import Quota
from serve_app.security.principals import Principal
from tests.integration.registry.adding import Vetted, add_to_model
from tests.integration.registry.conftest import MakeModel, MakeUser


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


@pytest.fixture
async def owner(make_user: MakeUser, make_model: MakeModel) -> Principal:
    """Whose model is iris, with one version, promoted."""
    owner = await make_user()
    await make_model(owner)
    return owner


@pytest.fixture
async def owner_of_two(
    owner: Principal, database: Database, vetted: Vetted, plenty: Quota
) -> Principal:
    """The same with a second version, which is not promoted."""
    await add_to_model(database, owner, vetted(b"two"), plenty)
    return owner

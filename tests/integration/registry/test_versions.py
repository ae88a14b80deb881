"""Versions of a model: numbers without a gap, equal bytes, deletion and quarantine."""

import asyncio

import pytest

from cluster.errors import (
    ModelConflict,
    ModelNotFound,
)
from serve_app.registry.database import Database
from serve_app.registry.models import (
    get_model,
)
from serve_app.registry.quotas import Quota
from serve_app.registry.versions import (
    delete_version,
    find_version_by_sha,
    get_version,
    list_versions,
    quarantine_version,
    release_version,
)

from .adding import Vetted, add_to_model
from .conftest import MakeModel, MakeUser

pytestmark = pytest.mark.anyio


async def test_versions_at_once_are_numbered_without_a_gap(
    database: Database, make_user: MakeUser, make_model: MakeModel, vetted: Vetted, plenty: Quota
) -> None:
    owner = await make_user()
    await make_model(owner)

    added = await asyncio.gather(
        *(add_to_model(database, owner, vetted(b"v%d" % n), plenty) for n in range(10))
    )

    assert sorted(one.value.version.number for one in added) == list(range(2, 12))
    assert len({one.sequence for one in added}) == 10


async def test_bytes_equal_to_the_newest_version_are_that_version(
    database: Database, make_user: MakeUser, make_model: MakeModel, vetted: Vetted, plenty: Quota
) -> None:
    owner = await make_user()
    await make_model(owner, content=b"same")

    again = await add_to_model(database, owner, vetted(b"same"), plenty)
    other = await add_to_model(database, owner, vetted(b"other"), plenty)
    back = await add_to_model(database, owner, vetted(b"same"), plenty)

    assert (again.value.version.number, again.value.is_new, again.sequence) == (1, False, None)
    assert (other.value.version.number, other.value.is_new) == (2, True)
    assert (back.value.version.number, back.value.is_new) == (3, True)


async def test_a_version_is_found_by_its_bytes_while_it_is_the_newest(
    database: Database, make_user: MakeUser, make_model: MakeModel, vetted: Vetted, plenty: Quota
) -> None:
    owner = await make_user()
    await make_model(owner, content=b"one")
    sha256 = vetted(b"one").sha256

    found = await database.read(lambda s: find_version_by_sha(s, owner, "iris", sha256))
    assert found is not None
    assert found.number == 1
    await add_to_model(database, owner, vetted(b"two"), plenty)
    assert await database.read(lambda s: find_version_by_sha(s, owner, "iris", sha256)) is None
    assert await database.read(lambda s: find_version_by_sha(s, owner, "none", sha256)) is None


async def test_a_version_is_deleted_once_no_alias_names_it(
    database: Database, make_user: MakeUser, make_model: MakeModel, vetted: Vetted, plenty: Quota
) -> None:
    owner = await make_user()
    await make_model(owner)
    await add_to_model(database, owner, vetted(b"two"), plenty)

    with pytest.raises(ModelConflict, match="production"):
        await database.write(lambda s: delete_version(s, owner, "iris", 1))
    await database.write(lambda s: delete_version(s, owner, "iris", "2"))

    with pytest.raises(ModelNotFound):
        await database.read(lambda s: get_version(s, owner, "iris", 2))
    page = await database.read(lambda s: list_versions(s, owner, "iris", limit=9, offset=0))
    assert [version.number for version in page.items] == [1]
    added = await add_to_model(database, owner, vetted(b"three"), plenty)
    assert added.value.version.number == 3


async def test_quarantine_shows_on_the_model_and_is_lifted(
    database: Database, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner = await make_user()
    model_id = (await make_model(owner)).model.id

    assert (await database.write(lambda s: quarantine_version(s, model_id, 1))).value
    assert not (await database.write(lambda s: quarantine_version(s, model_id, 1))).value
    assert not (await database.write(lambda s: quarantine_version(s, model_id, 7))).value
    held = await database.read(lambda s: get_model(s, owner, "iris"))
    released = await database.write(lambda s: release_version(s, owner, "iris", "production"))
    free = await database.read(lambda s: get_model(s, owner, "iris"))

    assert (held.status, released.value.status, free.status) == ("quarantined", "ready", "ready")

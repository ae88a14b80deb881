"""Aliases: moved in one step, compared first where asked."""

import asyncio
from collections.abc import Callable

import pytest

from cluster.errors import InvalidInput, ModelConflict, ModelNotFound, NotPermitted
from serve_app.registry.aliases import delete_alias, list_aliases, set_alias
from serve_app.registry.database import Database
from serve_app.registry.models import get_model, update_model
from serve_app.registry.quotas import Quota
from serve_app.registry.records import AliasRecord, NewVersion
from serve_app.registry.versions import (
    add_version,
    get_version,
    quarantine_version,
)
from serve_app.security.principals import Principal

from .conftest import MakeModel, MakeUser

pytestmark = pytest.mark.anyio


@pytest.fixture
async def owner(
    database: Database,
    make_user: MakeUser,
    make_model: MakeModel,
    vetted: Callable[[bytes], NewVersion],
    plenty: Quota,
) -> Principal:
    """Somebody with a model "iris" of three versions."""
    owner = await make_user()
    await make_model(owner)
    for content in (b"two", b"three"):
        await database.write(
            lambda s, c=content: add_version(s, owner, "iris", vetted(c), quota=plenty)  # type: ignore[misc]
        )
    return owner


async def _set(
    database: Database,
    owner: Principal,
    version: int,
    alias: str = "production",
    *,
    expected: int | None = None,
) -> AliasRecord:
    written = await database.write(
        lambda s: set_alias(s, owner, "iris", alias, version, expected=expected)
    )
    assert written.sequence is not None
    return written.value


async def test_a_move_remembers_where_it_came_from(database: Database, owner: Principal) -> None:
    moved = await _set(database, owner, 2)
    again = await _set(database, owner, 2)

    assert (moved.version, moved.previous_version) == (2, 1)
    assert (again.version, again.previous_version) == (2, 1)
    assert (await database.read(lambda s: get_version(s, owner, "iris"))).number == 2


async def test_aliases_are_listed_by_name(database: Database, owner: Principal) -> None:
    await _set(database, owner, 3, "canary")

    listed = await database.read(lambda s: list_aliases(s, owner, "iris"))

    assert [(one.alias, one.version) for one in listed] == [("canary", 3), ("production", 1)]


async def test_of_two_comparing_moves_at_once_one_wins(
    database: Database, owner: Principal
) -> None:
    moved = await asyncio.gather(
        _set(database, owner, 2, expected=1),
        _set(database, owner, 3, expected=1),
        return_exceptions=True,
    )

    assert sum(isinstance(one, AliasRecord) for one in moved) == 1
    assert sum(isinstance(one, ModelConflict) for one in moved) == 1


@pytest.mark.parametrize("alias", ["", "7", "Prod", "a/b", "x" * 65])
async def test_a_bad_alias_is_refused(database: Database, owner: Principal, alias: str) -> None:
    with pytest.raises(InvalidInput):
        await _set(database, owner, 2, alias)


async def test_an_alias_leads_to_a_version_that_can_answer(
    database: Database, owner: Principal
) -> None:
    model = await database.read(lambda s: get_model(s, owner, "iris"))
    await database.write(lambda s: quarantine_version(s, model.id, 2))

    with pytest.raises(ModelNotFound, match="9"):
        await _set(database, owner, 9)
    with pytest.raises(ModelConflict, match="quarantined"):
        await _set(database, owner, 2)


async def test_a_deleted_alias_is_gone(database: Database, owner: Principal) -> None:
    await _set(database, owner, 2, "canary")

    await database.write(lambda s: delete_alias(s, owner, "iris", "canary"))

    with pytest.raises(ModelNotFound, match="canary"):
        await database.read(lambda s: get_version(s, owner, "iris", "canary"))
    with pytest.raises(ModelNotFound, match="canary"):
        await database.write(lambda s: delete_alias(s, owner, "iris", "canary"))


async def test_a_reader_moves_nothing(
    database: Database, owner: Principal, make_user: MakeUser
) -> None:
    reader = await make_user()
    shared = await database.write(
        lambda s: update_model(s, owner, "iris", {"visibility": "public"})
    )
    model_id = shared.value.id

    assert len(await database.read(lambda s: list_aliases(s, reader, model_id))) == 1
    with pytest.raises(NotPermitted):
        await database.write(lambda s: set_alias(s, reader, model_id, "production", 2))

"""Models: names, lists, who may change them, and to whom they pass."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from cluster.errors import (
    InvalidInput,
    ModelConflict,
    ModelNotFound,
    NotPermitted,
)
from serve_app.registry.database import Database
from serve_app.registry.models import (
    delete_model,
    get_model,
    get_owned_model,
    is_name_taken,
    list_models,
    transfer_ownership,
    update_model,
)
from serve_app.registry.quotas import usage
from serve_app.registry.records import UploadRecord

from .conftest import MakeModel, MakeUser

pytestmark = pytest.mark.anyio


async def test_the_first_version_is_production(
    database: Database, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner = await make_user()

    made = await make_model(owner)

    model = await database.read(lambda s: get_model(s, owner, "iris"))
    assert model == made.model
    assert (made.version.number, made.is_new) == (1, True)
    assert model.find_alias("production") == 1
    assert model.latest is not None
    assert model.latest.engines == {"predict": "linear"}
    assert (model.owner_email, model.status, model.visibility) == (owner.email, "ready", "private")


async def test_a_taken_name_is_a_conflict_for_its_owner_alone(
    database: Database, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner, other = await make_user(), await make_user()
    await make_model(owner)
    await make_model(other)

    with pytest.raises(ModelConflict, match="'iris'"):
        await make_model(owner)

    assert await database.read(lambda s: is_name_taken(s, owner.user_id, "iris"))
    page = await database.read(lambda s: list_models(s, owner_id=owner.user_id, limit=9, offset=0))
    assert page.total == 1


async def test_of_two_uploads_of_one_name_at_once_one_wins(
    make_user: MakeUser, make_model: MakeModel
) -> None:
    owner = await make_user()

    made = await asyncio.gather(
        *(make_model(owner, content=b"%d" % n) for n in range(8)), return_exceptions=True
    )

    assert sum(isinstance(one, UploadRecord) for one in made) == 1
    assert sum(isinstance(one, ModelConflict) for one in made) == 7


@pytest.mark.parametrize(
    "name",
    ["", "Iris", "-iris", "a b", "x" * 65, "ä", "a\n", "0f8fad5b-d9cb-469f-a165-70867728950e"],
)
async def test_a_bad_name_is_refused(make_user: MakeUser, make_model: MakeModel, name: str) -> None:
    owner = await make_user()

    with pytest.raises(InvalidInput):
        await make_model(owner, name)


async def test_only_the_owner_and_admins_change_a_model(
    database: Database, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner, friend, stranger = await make_user(), await make_user(), await make_user()
    admin = await make_user(role="admin")
    model_id = (await make_model(owner)).model.id
    await database.write(lambda s: update_model(s, owner, "iris", {"shared_with": [friend.email]}))

    with pytest.raises(NotPermitted):
        await database.write(lambda s: delete_model(s, friend, model_id))
    with pytest.raises(ModelNotFound):
        await database.write(lambda s: delete_model(s, stranger, model_id))
    with pytest.raises(ModelNotFound):
        await database.write(lambda s: delete_model(s, stranger, "iris"))
    changed = await database.write(
        lambda s: update_model(s, admin, model_id, {"description": "by an admin"})
    )
    assert changed.value.description == "by an admin"
    assert (await database.write(lambda s: get_owned_model(s, owner, "iris"))).value.id == model_id


async def test_an_update_changes_what_it_names_alone(
    database: Database, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner, friend = await make_user(), await make_user()
    await make_model(owner)
    bounds = {"x0": {"min": 0}}

    async def update(changes: dict[str, Any]) -> Any:
        return (await database.write(lambda s: update_model(s, owner, "iris", changes))).value

    first = await update({"description": "flowers", "feature_bounds": bounds})
    second = await update({"shared_with": [friend.user_id.upper(), friend.email, owner.email]})
    third = await update({"visibility": "private", "description": None})

    assert (first.description, first.feature_bounds) == ("flowers", bounds)
    assert (second.description, second.visibility) == ("flowers", "shared")
    assert second.shared_with == (friend.email,)
    assert (third.visibility, third.description, third.feature_bounds) == ("private", None, bounds)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"owner_id": "x"}, "owner_id"),
        ({"visibility": "secret"}, "private, shared, public"),
        ({"shared_with": ["nobody@example.com"]}, "nobody@example.com"),
    ],
)
async def test_a_wrong_update_is_refused_whole(
    database: Database,
    make_user: MakeUser,
    make_model: MakeModel,
    changes: dict[str, Any],
    named: str,
) -> None:
    owner = await make_user()
    before = (await make_model(owner)).model

    with pytest.raises(InvalidInput, match=named):
        await database.write(
            lambda s: update_model(s, owner, "iris", {"description": "x"} | changes)
        )

    assert await database.read(lambda s: get_model(s, owner, "iris")) == before


async def test_deleting_frees_the_name_at_once(
    database: Database, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner = await make_user()
    old = (await make_model(owner)).model

    await database.write(lambda s: delete_model(s, owner, "iris"))

    with pytest.raises(ModelNotFound):
        await database.read(lambda s: get_model(s, owner, old.id))
    new = (await make_model(owner)).model
    assert new.id != old.id
    assert (await database.read(lambda s: usage(s, owner.user_id))).models == 1


async def test_a_transferred_model_is_the_new_owners(
    database: Database, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner, heir, admin = await make_user(), await make_user(), await make_user(role="admin")
    model_id = (await make_model(owner)).model.id

    await database.write(lambda s: transfer_ownership(s, admin, model_id, heir.email))

    assert (await database.read(lambda s: get_model(s, heir, "iris"))).id == model_id
    with pytest.raises(ModelNotFound):
        await database.read(lambda s: get_model(s, owner, model_id))


async def test_a_transfer_to_someone_with_that_name_is_a_conflict(
    database: Database, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner, heir = await make_user(), await make_user()
    await make_model(owner)
    await make_model(heir)

    with pytest.raises(ModelConflict):
        await database.write(lambda s: transfer_ownership(s, owner, "iris", heir.user_id))


async def test_a_tied_key_changes_its_models_alone(
    database: Database, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner = await make_user()
    await make_model(owner, "one")
    two = (await make_model(owner, "two")).model
    key = replace(owner, models=frozenset({two.id}), key_id="k")

    with pytest.raises(ModelNotFound):
        await database.write(lambda s: update_model(s, key, "one", {"description": "x"}))
    await database.write(lambda s: update_model(s, key, "two", {"description": "x"}))

"""Whose models a caller learns of: owners, admins' lesser keys, tied keys, sharing."""

from dataclasses import replace
from uuid import uuid4

import pytest

from cluster.errors import ModelNotFound
from serve_app.registry.catalog import Catalog
from serve_app.registry.changes import ChangeFollower
from serve_app.registry.database import Database
from serve_app.registry.models import update_model
from tests.integration.registry.conftest import MakeModel, MakeUser

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_other_follower")]


async def test_others_learn_nothing_of_a_private_model(
    catalog: Catalog, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner, stranger, admin = await make_user(), await make_user(), await make_user(role="admin")
    model_id = (await make_model(owner)).model.id

    assert (await catalog.resolve(admin, model_id)).model_id == model_id
    with pytest.raises(ModelNotFound) as private:
        await catalog.resolve(stranger, model_id)
    nowhere = str(uuid4())
    with pytest.raises(ModelNotFound) as absent:
        await catalog.resolve(stranger, nowhere)
    assert private.value.message.replace(model_id, nowhere) == absent.value.message


async def test_an_admins_lesser_key_sees_what_the_account_owns_alone(
    catalog: Catalog, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner, admin = await make_user(), await make_user(role="admin")
    model_id = (await make_model(owner)).model.id
    key = replace(admin, scopes=frozenset({"predict"}), key_id="k")
    await catalog.resolve(admin, model_id)

    with pytest.raises(ModelNotFound):
        await catalog.resolve(key, model_id)
    assert (await catalog.resolve(admin, model_id)).model_id == model_id


async def test_a_tied_key_sees_its_models_alone(
    catalog: Catalog, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner = await make_user()
    first = (await make_model(owner, "first")).model
    await make_model(owner, "second")
    await catalog.resolve(owner, "second")
    key = replace(owner, models=frozenset({first.id}), key_id="k")

    assert (await catalog.resolve(key, "first")).model_id == first.id
    with pytest.raises(ModelNotFound):
        await catalog.resolve(key, "second")
    assert (await catalog.resolve(owner, "second")).model_name == "second"


async def test_sharing_opens_and_closes_a_model(
    catalog: Catalog,
    follower: ChangeFollower,
    database: Database,
    make_user: MakeUser,
    make_model: MakeModel,
) -> None:
    owner, friend = await make_user(), await make_user()
    model_id = (await make_model(owner)).model.id
    with pytest.raises(ModelNotFound):
        await catalog.resolve(friend, model_id)

    for changes, is_open in (
        ({"shared_with": [friend.email]}, True),
        ({"shared_with": []}, False),
        ({"visibility": "public"}, True),
        ({"visibility": "private"}, False),
    ):
        await database.write(lambda s, c=changes: update_model(s, owner, "iris", c))  # type: ignore[misc]
        await follower.advance()
        if is_open:
            assert (await catalog.resolve(friend, model_id)).model_id == model_id
        else:
            with pytest.raises(ModelNotFound):
                await catalog.resolve(friend, model_id)

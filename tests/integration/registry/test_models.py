"""Models and their versions: names, numbers, who may, how many, and what happens at once."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.orm import Session

from cluster.errors import (
    InvalidInput,
    ModelConflict,
    ModelNotFound,
    NotPermitted,
    QuotaExceeded,
)
from serve_app.registry.database import Database, Written
from serve_app.registry.models import (
    create_model_with_version,
    delete_model,
    get_model,
    get_owned_model,
    is_name_taken,
    list_models,
    transfer_ownership,
    update_model,
)
from serve_app.registry.quotas import Quota, check_quota, usage
from serve_app.registry.records import NewVersion, UploadRecord
from serve_app.registry.tables import User
from serve_app.registry.versions import (
    add_version,
    delete_version,
    find_version_by_sha,
    get_version,
    list_versions,
    quarantine_version,
    release_version,
)
from serve_app.security.principals import Principal

from .conftest import CountStatements, MakeModel, MakeUser

pytestmark = pytest.mark.anyio
Vetted = Callable[[bytes], NewVersion]


async def _add(
    database: Database, owner: Principal, new: NewVersion, quota: Quota, name: str = "iris"
) -> Written[UploadRecord]:
    return await database.write(lambda s: add_version(s, owner, name, new, quota=quota))


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


async def test_versions_at_once_are_numbered_without_a_gap(
    database: Database, make_user: MakeUser, make_model: MakeModel, vetted: Vetted, plenty: Quota
) -> None:
    owner = await make_user()
    await make_model(owner)

    added = await asyncio.gather(
        *(_add(database, owner, vetted(b"v%d" % n), plenty) for n in range(10))
    )

    assert sorted(one.value.version.number for one in added) == list(range(2, 12))
    assert len({one.sequence for one in added}) == 10


async def test_bytes_equal_to_the_newest_version_are_that_version(
    database: Database, make_user: MakeUser, make_model: MakeModel, vetted: Vetted, plenty: Quota
) -> None:
    owner = await make_user()
    await make_model(owner, content=b"same")

    again = await _add(database, owner, vetted(b"same"), plenty)
    other = await _add(database, owner, vetted(b"other"), plenty)
    back = await _add(database, owner, vetted(b"same"), plenty)

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
    await _add(database, owner, vetted(b"two"), plenty)
    assert await database.read(lambda s: find_version_by_sha(s, owner, "iris", sha256)) is None
    assert await database.read(lambda s: find_version_by_sha(s, owner, "none", sha256)) is None


async def test_lists_take_as_many_statements_for_many_as_for_few(
    database: Database,
    make_user: MakeUser,
    make_model: MakeModel,
    vetted: Vetted,
    plenty: Quota,
    counted_statements: CountStatements,
) -> None:
    few, many = await make_user(), await make_user()
    await make_model(few, "only")
    for number in range(12):
        await make_model(many, f"m{number}")
        await _add(database, many, vetted(b"two"), plenty, f"m{number}")

    counts = []
    for owner in (few, many):
        with counted_statements() as statements:
            page = await database.read(
                lambda s, u=owner.user_id: list_models(s, owner_id=u, limit=100, offset=0)  # type: ignore[misc]
            )
        counts.append(len(statements))
    with counted_statements() as statements:
        await database.read(lambda s: list_versions(s, many, "m0", limit=100, offset=0))

    assert counts == [6, 6]
    assert len(statements) == 3
    assert page.total == 12
    assert [model.name for model in page.items] == [f"m{number}" for number in range(11, -1, -1)]
    assert all(model.latest is not None and model.latest.number == 2 for model in page.items)


async def test_pages_and_filters(
    database: Database, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner = await make_user()
    made = [await make_model(owner, f"m{number}") for number in range(5)]
    await database.write(lambda s: quarantine_version(s, made[2].model.id, 1))

    def page(**wanted: Any) -> Callable[[Session], tuple[list[str], int]]:
        def work(session: Session) -> tuple[list[str], int]:
            found = list_models(session, owner_id=owner.user_id, **wanted)
            return [model.name for model in found.items], found.total

        return work

    assert await database.read(page(limit=2, offset=1)) == (["m3", "m2"], 5)
    assert await database.read(page(limit=9, offset=9)) == ([], 5)
    assert await database.read(page(limit=9, offset=0, status="quarantined")) == (["m2"], 1)
    tied = frozenset({made[0].model.id, "no id"})
    assert await database.read(page(limit=9, offset=0, ids=tied)) == (["m0"], 1)


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


async def test_a_version_is_deleted_once_no_alias_names_it(
    database: Database, make_user: MakeUser, make_model: MakeModel, vetted: Vetted, plenty: Quota
) -> None:
    owner = await make_user()
    await make_model(owner)
    await _add(database, owner, vetted(b"two"), plenty)

    with pytest.raises(ModelConflict, match="production"):
        await database.write(lambda s: delete_version(s, owner, "iris", 1))
    await database.write(lambda s: delete_version(s, owner, "iris", "2"))

    with pytest.raises(ModelNotFound):
        await database.read(lambda s: get_version(s, owner, "iris", 2))
    page = await database.read(lambda s: list_versions(s, owner, "iris", limit=9, offset=0))
    assert [version.number for version in page.items] == [1]
    added = await _add(database, owner, vetted(b"three"), plenty)
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


async def test_quotas_count_models_and_bytes(
    database: Database, make_user: MakeUser, make_model: MakeModel, vetted: Vetted
) -> None:
    owner = await make_user()
    await make_model(owner, content=b"12345")

    used = await database.read(lambda s: usage(s, owner.user_id))
    assert (used.models, used.size_bytes) == (1, 5)
    with pytest.raises(QuotaExceeded, match="delete one"):
        await database.read(
            lambda s: check_quota(
                s, owner.user_id, Quota(max_models=1, max_bytes=100), new_models=1
            )
        )
    with pytest.raises(QuotaExceeded, match="bytes"):
        await _add(database, owner, vetted(b"123456"), Quota(max_models=9, max_bytes=10))
    await _add(database, owner, vetted(b"54321"), Quota(max_models=9, max_bytes=10))


async def test_an_admin_may_widen_one_users_quota(
    database: Database, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner = await make_user()
    await make_model(owner)

    def widen(session: Session) -> None:
        user = session.get(User, owner.user_id)
        assert user is not None
        user.limits = {"max_models": 5}

    await database.write(widen)
    await database.read(
        lambda s: check_quota(s, owner.user_id, Quota(max_models=1, max_bytes=9), new_models=1)
    )


async def test_uploads_at_once_do_not_pass_the_quota_together(
    database: Database, make_user: MakeUser, vetted: Vetted
) -> None:
    owner = await make_user()
    quota = Quota(max_models=3, max_bytes=1000)

    async def create(number: int) -> Written[UploadRecord]:
        return await database.write(
            lambda s: create_model_with_version(
                s, owner_id=owner.user_id, name=f"m{number}", new=vetted(b"x"), quota=quota
            )
        )

    made = await asyncio.gather(*(create(number) for number in range(8)), return_exceptions=True)

    assert sum(isinstance(one, Written) for one in made) == 3
    assert sum(isinstance(one, QuotaExceeded) for one in made) == 5


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

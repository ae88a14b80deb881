"""Lists of models: as many statements for many as for few, pages and filters."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.orm import Session

from serve_app.registry.database import Database
from serve_app.registry.models import (
    list_models,
)
from serve_app.registry.quotas import Quota
from serve_app.registry.versions import (
    list_versions,
    quarantine_version,
)

from .adding import Vetted, add_to_model
from .conftest import CountStatements, MakeModel, MakeUser

pytestmark = pytest.mark.anyio


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
        await add_to_model(database, many, vetted(b"two"), plenty, f"m{number}")

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

"""What a change drops from the catalog, and that no reader sees an older version after it."""

import asyncio
import random
from collections.abc import Callable
from typing import TypeVar

import pytest
from sqlalchemy.orm import Session

from cluster.errors import ModelNotFound
from serve_app.registry.aliases import set_alias
from serve_app.registry.catalog import Catalog
from serve_app.registry.changes import ChangeFollower
from serve_app.registry.database import Database
from serve_app.registry.models import delete_model
from serve_app.registry.quotas import Quota
from serve_app.registry.versions import add_version, quarantine_version
from serve_app.security.principals import Principal
from tests.integration.registry.adding import Vetted
from tests.integration.registry.conftest import CountStatements, MakeModel, MakeUser

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_other_follower")]
T = TypeVar("T")


async def test_a_move_holds_from_the_moment_it_was_applied(
    catalog: Catalog,
    follower: ChangeFollower,
    database: Database,
    owner_of_two: Principal,
) -> None:
    await catalog.resolve(owner_of_two, "iris")

    written = await database.write(lambda s: set_alias(s, owner_of_two, "iris", "production", 2))
    await follower.advance()

    assert follower.applied == written.sequence
    assert catalog.find_cached(owner_of_two, "iris", None) is None
    assert (await catalog.resolve(owner_of_two, "iris")).version == 2


async def test_quarantine_and_deletion_reach_the_cache(
    catalog: Catalog,
    follower: ChangeFollower,
    database: Database,
    make_user: MakeUser,
    make_model: MakeModel,
) -> None:
    owner = await make_user()
    model_id = (await make_model(owner)).model.id
    await catalog.resolve(owner, "iris")

    await database.write(lambda s: quarantine_version(s, model_id, 1))
    await follower.advance()
    assert (await catalog.resolve(owner, "iris")).status == "quarantined"
    await database.write(lambda s: delete_model(s, owner, "iris"))
    await follower.advance()
    with pytest.raises(ModelNotFound):
        await catalog.resolve(owner, "iris")


async def test_absence_is_remembered_until_something_changes(
    catalog: Catalog,
    follower: ChangeFollower,
    database: Database,
    make_user: MakeUser,
    make_model: MakeModel,
    counted_statements: CountStatements,
) -> None:
    owner = await make_user()
    with pytest.raises(ModelNotFound):
        await catalog.resolve(owner, "iris")

    with counted_statements() as statements, pytest.raises(ModelNotFound):
        await catalog.resolve(owner, "iris")
    assert statements == []
    await make_model(owner)
    await follower.advance()
    assert (await catalog.resolve(owner, "iris")).version == 1


async def test_a_fill_that_a_change_overtook_is_not_kept(
    follower: ChangeFollower,
    database: Database,
    owner_of_two: Principal,
) -> None:
    slow = SlowDatabase(database)
    catalog = Catalog(slow, follower, clock=lambda: 0.0)

    early = asyncio.create_task(catalog.resolve(owner_of_two, "iris"))
    await slow.has_read.wait()
    await database.write(lambda s: set_alias(s, owner_of_two, "iris", "production", 2))
    await follower.advance()
    late = asyncio.create_task(catalog.resolve(owner_of_two, "iris"))
    slow.may_answer.set()

    assert (await early).version == 1
    assert (await late).version == 2
    found = catalog.find_cached(owner_of_two, "iris", None)
    assert found is not None
    assert found.version == 2


class SlowDatabase(Database):
    """Reads at once and answers when it may, as a thread that lost its turn does."""

    def __init__(self, database: Database) -> None:
        self._real = database
        self.has_read = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def read(
        self, work: Callable[[Session], T], *, timeout_s: float = 15.0, is_urgent: bool = False
    ) -> T:
        answer = await self._real.read(work, timeout_s=timeout_s, is_urgent=is_urgent)
        self.has_read.set()
        await self.may_answer.wait()
        return answer


@pytest.mark.parametrize("seed", range(3))
async def test_no_reader_sees_an_older_version_after_a_settled_move(
    database: Database,
    vetted: Vetted,
    plenty: Quota,
    seed: int,
    owner: Principal,
) -> None:
    follower = ChangeFollower(database, f"live {seed}")
    catalog = Catalog(database, follower)
    follower.start()
    settled = 1
    is_over = False

    async def read() -> int:
        count = 0
        while not is_over:
            floor = settled
            found = await catalog.resolve(owner, "iris")
            assert found.version >= floor
            count += 1
            await asyncio.sleep(0)
        return count

    readers = [asyncio.create_task(read()) for _ in range(4)]
    dice = random.Random(seed)
    for number in range(2, 12):
        written = await database.write(
            lambda s, n=number: add_version(  # type: ignore[misc]
                s, owner, "iris", vetted(b"%d" % n), quota=plenty, is_promoted=True
            )
        )
        if dice.random() < 0.8:
            assert await follower.settle(written.sequence, 30)
            settled = number
    is_over = True
    counts = await asyncio.gather(*readers)
    await follower.stop()

    assert min(counts) > 10

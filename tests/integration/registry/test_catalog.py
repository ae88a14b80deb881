"""Which version a call means: who may know, what a change drops, what an outage leaves."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar
from uuid import uuid4

import pytest
from sqlalchemy.orm import Session

from cluster.errors import ModelNotFound, RegistryUnavailable
from serve_app.registry.aliases import set_alias
from serve_app.registry.catalog import Catalog
from serve_app.registry.changes import ChangeFollower
from serve_app.registry.connections import PoolLimits
from serve_app.registry.database import Database
from serve_app.registry.models import delete_model, update_model
from serve_app.registry.quotas import Quota
from serve_app.registry.records import NewVersion
from serve_app.registry.versions import add_version, quarantine_version
from serve_app.security.principals import Principal

from .conftest import CountStatements, Line, MakeModel, MakeUser

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_other_follower")]
Vetted = Callable[[bytes], NewVersion]
T = TypeVar("T")


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


async def _add(
    database: Database, owner: Principal, new: NewVersion, plenty: Quota, *, promote: bool = False
) -> None:
    await database.write(
        lambda session: add_version(session, owner, "iris", new, quota=plenty, is_promoted=promote)
    )


async def test_names_numbers_aliases_and_ids_lead_to_a_version(
    catalog: Catalog,
    database: Database,
    make_user: MakeUser,
    make_model: MakeModel,
    vetted: Vetted,
    plenty: Quota,
) -> None:
    owner = await make_user()
    model = (await make_model(owner)).model
    await _add(database, owner, vetted(b"two"), plenty)

    for name in ("iris", model.id, model.id.upper()):
        assert (await catalog.resolve(owner, name)).version == 1
    assert (await catalog.resolve(owner, "iris", 2)).version == 2
    assert (await catalog.resolve(owner, "iris", "2")).version == 2
    assert (await catalog.resolve(owner, "iris", "production")).version == 1


async def test_a_resolved_version_says_what_a_prediction_needs(
    catalog: Catalog, make_user: MakeUser, make_model: MakeModel, vetted: Vetted
) -> None:
    owner = await make_user()
    model = (await make_model(owner, content=b"bytes")).model

    found = await catalog.resolve(owner, "iris")

    assert found.ref.sha256 == vetted(b"bytes").sha256
    assert found.ref.key == f"{model.id}/1"
    assert found.ref.engines == {"predict": "linear"}
    assert found.signature.features[0].name == "x0"
    assert (found.model_name, found.owner_id, found.status) == ("iris", owner.user_id, "ready")
    assert found.cost_per_row_s == {"predict": 1e-5}
    assert found.warnings == ("mind the gap",)


async def test_the_second_call_asks_nobody(
    catalog: Catalog,
    make_user: MakeUser,
    make_model: MakeModel,
    counted_statements: CountStatements,
) -> None:
    owner = await make_user()
    await make_model(owner)
    first = await catalog.resolve(owner, "iris")

    with counted_statements() as statements:
        again = await catalog.resolve(owner, "iris")
        found = catalog.find_cached(owner, "iris", None)

    assert statements == []
    assert again is first
    assert found is first


async def test_callers_share_reference_and_signature(
    catalog: Catalog, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner = await make_user()
    model = (await make_model(owner)).model

    by_name = await catalog.resolve(owner, "iris")
    by_id = await catalog.resolve(owner, model.id)

    assert by_name.ref is by_id.ref
    assert by_name.signature is by_id.signature


async def test_many_at_once_ask_once(
    catalog: Catalog,
    make_user: MakeUser,
    make_model: MakeModel,
    counted_statements: CountStatements,
) -> None:
    owner = await make_user()
    await make_model(owner)

    with counted_statements() as statements:
        found = await asyncio.gather(*(catalog.resolve(owner, "iris") for _ in range(50)))

    assert len({id(version) for version in found}) == 1
    assert len([one for one in statements if "FROM models" in one]) == 1


@pytest.mark.parametrize(
    "name", ["nothing", "00000000-0000-4000-8000-000000000000", "Not A Name", "a\x00b", "x" * 500]
)
async def test_an_unknown_model_is_named(catalog: Catalog, make_user: MakeUser, name: str) -> None:
    user = await make_user()

    with pytest.raises(ModelNotFound) as caught:
        await catalog.resolve(user, name)

    assert repr(name[:64])[1:-1] in caught.value.message


@pytest.mark.parametrize("version", [2, 0, -1, 10**12, "2", "99999999999", "canary", "a\x00b"])
async def test_an_unknown_version_is_named(
    catalog: Catalog, make_user: MakeUser, make_model: MakeModel, version: str | int
) -> None:
    owner = await make_user()
    await make_model(owner)

    with pytest.raises(ModelNotFound) as caught:
        await catalog.resolve(owner, "iris", version)

    assert repr(str(version))[1:-1] in caught.value.message
    assert "iris" in caught.value.message


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


async def test_a_move_holds_from_the_moment_it_was_applied(
    catalog: Catalog,
    follower: ChangeFollower,
    database: Database,
    make_user: MakeUser,
    make_model: MakeModel,
    vetted: Vetted,
    plenty: Quota,
) -> None:
    owner = await make_user()
    await make_model(owner)
    await _add(database, owner, vetted(b"two"), plenty)
    await catalog.resolve(owner, "iris")

    written = await database.write(lambda s: set_alias(s, owner, "iris", "production", 2))
    await follower.advance()

    assert follower.applied == written.sequence
    assert catalog.find_cached(owner, "iris", None) is None
    assert (await catalog.resolve(owner, "iris")).version == 2


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
    make_user: MakeUser,
    make_model: MakeModel,
    vetted: Vetted,
    plenty: Quota,
) -> None:
    owner = await make_user()
    await make_model(owner)
    await _add(database, owner, vetted(b"two"), plenty)
    slow = SlowDatabase(database)
    catalog = Catalog(slow, follower, clock=lambda: 0.0)

    early = asyncio.create_task(catalog.resolve(owner, "iris"))
    await slow.has_read.wait()
    await database.write(lambda s: set_alias(s, owner, "iris", "production", 2))
    await follower.advance()
    late = asyncio.create_task(catalog.resolve(owner, "iris"))
    slow.may_answer.set()

    assert (await early).version == 1
    assert (await late).version == 2
    found = catalog.find_cached(owner, "iris", None)
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


async def test_known_models_outlive_the_registry(
    line: Line, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner = await make_user()
    await make_model(owner)
    now = [0.0]
    cut_off = Database.from_url(line.url, PoolLimits(size=2, overflow=0))
    follower = ChangeFollower(cut_off, "cut off", clock=lambda: now[0])
    catalog = Catalog(cut_off, follower, clock=lambda: now[0])
    await follower.advance()
    known = await catalog.resolve(owner, "iris")

    line.cut()
    now[0] += 3600

    assert catalog.find_cached(owner, "iris", None) is None
    assert await catalog.resolve(owner, "iris") is known
    # Nobody else waits for the registry within the next second.
    assert catalog.find_cached(owner, "iris", None) is known
    with pytest.raises(RegistryUnavailable):
        await catalog.resolve(owner, "other")
    await cut_off.close()


async def test_an_old_entry_is_answered_and_read_again_meanwhile(
    database: Database,
    make_user: MakeUser,
    make_model: MakeModel,
    eventually: Callable[[Callable[[], bool]], Awaitable[None]],
) -> None:
    owner = await make_user()
    await make_model(owner)
    now = [0.0]
    follower = ChangeFollower(database, "aging", clock=lambda: now[0])
    catalog = Catalog(database, follower, clock=lambda: now[0])
    await follower.advance()
    first = await catalog.resolve(owner, "iris")

    now[0] += 61
    await follower.advance()

    assert catalog.find_cached(owner, "iris", None) is first
    await eventually(lambda: catalog.find_cached(owner, "iris", None) is not first)


async def test_the_cache_is_bounded(
    database: Database, follower: ChangeFollower, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner = await make_user()
    catalog = Catalog(database, follower, max_entries=3, clock=lambda: 0.0)
    names = [f"m{number}" for number in range(6)]
    for name in names:
        await make_model(owner, name)
        await catalog.resolve(owner, name)

    kept = [name for name in names if catalog.find_cached(owner, name, None) is not None]

    assert kept == names[3:]


@pytest.mark.parametrize("seed", range(3))
async def test_no_reader_sees_an_older_version_after_a_settled_move(
    database: Database,
    make_user: MakeUser,
    make_model: MakeModel,
    vetted: Vetted,
    plenty: Quota,
    seed: int,
) -> None:
    owner = await make_user()
    await make_model(owner)
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

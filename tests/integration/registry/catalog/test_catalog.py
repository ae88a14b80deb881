"""Which version a call means, how often the registry is asked, and what an outage leaves."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from cluster.errors import ModelNotFound, RegistryUnavailable
from serve_app.registry.catalog import Catalog
from serve_app.registry.changes import ChangeFollower
from serve_app.registry.connections import PoolLimits
from serve_app.registry.database import Database
from serve_app.security.principals import Principal
from tests.integration.registry.adding import Vetted
from tests.integration.registry.conftest import CountStatements, Line, MakeModel, MakeUser

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_other_follower")]


async def test_names_numbers_aliases_and_ids_lead_to_a_version(
    catalog: Catalog,
    owner_of_two: Principal,
) -> None:
    model_id = (await catalog.resolve(owner_of_two, "iris")).ref.model_id

    for name in ("iris", model_id, model_id.upper()):
        assert (await catalog.resolve(owner_of_two, name)).version == 1
    assert (await catalog.resolve(owner_of_two, "iris", 2)).version == 2
    assert (await catalog.resolve(owner_of_two, "iris", "2")).version == 2
    assert (await catalog.resolve(owner_of_two, "iris", "production")).version == 1


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
    counted_statements: CountStatements,
    owner: Principal,
) -> None:
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
    counted_statements: CountStatements,
    owner: Principal,
) -> None:

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
    catalog: Catalog,
    version: str | int,
    owner: Principal,
) -> None:

    with pytest.raises(ModelNotFound) as caught:
        await catalog.resolve(owner, "iris", version)

    assert repr(str(version))[1:-1] in caught.value.message
    assert "iris" in caught.value.message


async def test_known_models_outlive_the_registry(
    line: Line,
    owner: Principal,
) -> None:
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
    eventually: Callable[[Callable[[], bool]], Awaitable[None]],
    owner: Principal,
) -> None:
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

"""A writer who wants to be sure: a replica may be slow, but a registry that is silent is told."""

from collections.abc import AsyncIterator

import pytest

from cluster.errors import RegistryUnavailable
from serve_app.registry.changes import ChangeFollower
from serve_app.registry.connections import PoolLimits
from serve_app.registry.database import Database, record_change

from .conftest import Line

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_other_follower")]


@pytest.fixture
async def follower(line: Line) -> AsyncIterator[ChangeFollower]:
    """A started one behind a wire."""
    database = Database.from_url(line.url, PoolLimits(size=2, overflow=0))
    follower = ChangeFollower(database, "mine")
    follower.start()
    await follower.wait_live()
    yield follower
    line.mend()
    await follower.stop()
    await database.close()


async def _change(database: Database) -> int:
    written = await database.write(lambda session: record_change(session, "model", "m"))
    assert written.sequence is not None
    return written.sequence


async def test_what_every_replica_follows_is_confirmed(
    database: Database, follower: ChangeFollower
) -> None:
    sequence = await _change(database)

    await follower.confirm(sequence, 30)

    assert follower.applied >= sequence


async def test_a_registry_that_fell_silent_after_the_write_is_told(
    database: Database, follower: ChangeFollower, line: Line
) -> None:
    line.is_stuck = True
    sequence = await _change(database)

    with pytest.raises(RegistryUnavailable, match=r"is stored, but .* repeat the request"):
        await follower.confirm(sequence)
    assert not await follower.settle(sequence)


async def test_a_replica_that_does_not_move_holds_nothing_up(
    database: Database, follower: ChangeFollower
) -> None:
    await ChangeFollower(database, "stuck").advance()
    sequence = await _change(database)

    await follower.confirm(sequence)

    assert not await follower.settle(sequence, 0.1)

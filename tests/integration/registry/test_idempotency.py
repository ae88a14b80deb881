"""Idempotency-Keys: one answer for one request, and a way on when its runner died."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import delete, func, update

from cluster.request_errors import IdempotencyKeyInUse, IdempotencyKeyReused
from serve_app.registry.changes import ChangeFollower
from serve_app.registry.database import Database
from serve_app.registry.idempotency import StoredAnswer, abandon, begin, finish
from serve_app.registry.tables import Follower, IdempotencyKey

from .conftest import MakeUser

pytestmark = pytest.mark.anyio
BODY, OTHER = b"a" * 32, b"b" * 32


async def _begin(
    database: Database, user: str, body: bytes = BODY, runner: str | None = None
) -> StoredAnswer | None:
    return (await database.write(lambda s: begin(s, user, "k", body, runner=runner))).value


async def _finish(database: Database, user: str) -> None:
    await database.write(
        lambda s: finish(s, user, "k", status=201, response={"id": 1}, location="/x/1")
    )


async def _age(database: Database, user: str, by: timedelta) -> None:
    statement = (
        update(IdempotencyKey)
        .where(IdempotencyKey.user_id == user)
        .values(created_at=func.now() - by)
    )
    await database.write(lambda s: s.execute(statement))


@pytest.fixture
async def user(make_user: MakeUser) -> str:
    """An account without keys."""
    return (await make_user()).user_id


async def test_a_repeat_gets_the_first_answer(database: Database, user: str) -> None:
    assert await _begin(database, user) is None
    await _finish(database, user)

    again = await _begin(database, user)

    assert again == StoredAnswer(status=201, response={"id": 1}, location="/x/1")


async def test_of_many_at_once_one_runs(database: Database, user: str) -> None:
    begun = await asyncio.gather(
        *(_begin(database, user) for _ in range(8)), return_exceptions=True
    )

    assert begun.count(None) == 1
    refused = [one for one in begun if isinstance(one, IdempotencyKeyInUse)]
    assert len(refused) == 7
    assert all(one.retry_after_s for one in refused)


async def test_another_body_is_refused_running_or_done(database: Database, user: str) -> None:
    await _begin(database, user)
    with pytest.raises(IdempotencyKeyReused):
        await _begin(database, user, OTHER)
    await _finish(database, user)
    with pytest.raises(IdempotencyKeyReused):
        await _begin(database, user, OTHER)


async def test_keys_of_different_users_are_different(
    database: Database, user: str, make_user: MakeUser
) -> None:
    await _begin(database, user)

    assert await _begin(database, (await make_user()).user_id, OTHER) is None


async def test_an_abandoned_key_is_free(database: Database, user: str) -> None:
    await _begin(database, user)
    await database.write(lambda s: abandon(s, user, "k"))

    assert await _begin(database, user, OTHER) is None


async def test_abandoning_keeps_an_answer_that_was_stored(database: Database, user: str) -> None:
    await _begin(database, user)
    await _finish(database, user)
    await database.write(lambda s: abandon(s, user, "k"))

    assert await _begin(database, user) is not None


async def test_a_day_later_the_key_is_free(database: Database, user: str) -> None:
    await _begin(database, user)
    await _finish(database, user)
    await _age(database, user, timedelta(hours=25))

    assert await _begin(database, user, OTHER) is None
    with pytest.raises(IdempotencyKeyInUse):
        await _begin(database, user, OTHER)


async def test_a_request_that_runs_for_ever_is_given_up(database: Database, user: str) -> None:
    await _begin(database, user)
    await _age(database, user, timedelta(minutes=9))
    with pytest.raises(IdempotencyKeyInUse):
        await _begin(database, user)

    await _age(database, user, timedelta(minutes=11))
    assert await _begin(database, user) is None


async def test_a_request_whose_replica_died_is_taken_over(database: Database, user: str) -> None:
    await ChangeFollower(database, "replica").advance()
    await _begin(database, user, runner="replica")
    await _age(database, user, timedelta(seconds=30))
    with pytest.raises(IdempotencyKeyInUse):
        await _begin(database, user, runner="other")

    await database.write(lambda s: s.execute(delete(Follower)))
    assert await _begin(database, user, runner="other") is None

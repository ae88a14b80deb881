"""
Idempotency-Keys: the first request with a key runs, a repeat gets the same answer for 24 hours.

``begin`` and then, in the transaction that does the work, ``finish``; ``abandon`` after a failure
that a repeat may mend.
"""

import uuid
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cluster.contracts import JsonObject
from cluster.request_errors import IdempotencyKeyInUse, IdempotencyKeyReused
from serve_app.registry.tables import Follower, IdempotencyKey

KEPT = timedelta(hours=24)
#: A running request of unknown whereabouts is given up after this long.
RUNNING_AT_MOST = timedelta(minutes=10)
#: A replica unseen for this long has died, and what it ran with it.
RUNNER_SILENCE = timedelta(seconds=15)
RETRY_AFTER_S = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredAnswer:
    """What the first request was answered."""

    status: int
    response: JsonObject
    location: str | None


def begin(
    session: Session,
    user_id: str,
    key: str,
    request_sha256: bytes,
    *,
    runner: str | None = None,
) -> StoredAnswer | None:
    """
    Claim a key, or find what its first request was answered.

    Args:
        session: Of a ``Database.write`` of its own, so that others see the claim at once.
        user_id: Keys of different users have nothing to do with each other.
        key: The header's value, at most 255 characters.
        request_sha256: Of method, path and body.
        runner: The follower id of this replica, by which its death is noticed.

    Returns:
        None if the caller is to do the work; the stored answer otherwise.

    Raises:
        IdempotencyKeyReused: If the key was used with another body.
        IdempotencyKeyInUse: If the first request still runs.
    """
    claim = insert(IdempotencyKey).values(
        user_id=uuid.UUID(user_id), key=key, request_sha256=request_sha256, runner=runner
    )
    claimed = claim.on_conflict_do_nothing().returning(IdempotencyKey.key)
    if session.scalar(claimed) is not None:
        return None
    row = session.scalars(
        select(IdempotencyKey)
        .where(IdempotencyKey.user_id == uuid.UUID(user_id), IdempotencyKey.key == key)
        .with_for_update()
    ).one_or_none()
    if row is None:
        # Abandoned between the two statements; the client's retry finds the way free.
        raise _in_use()
    if _is_over(session, row):
        row.request_sha256, row.status, row.response = request_sha256, None, None
        row.location, row.runner = None, runner
        row.created_at = session.execute(select(func.now())).scalar_one()
        return None
    if row.request_sha256 != request_sha256:
        raise _reused()
    if row.status is None:
        raise _in_use()
    return StoredAnswer(status=row.status, response=row.response or {}, location=row.location)


def find(session: Session, user_id: str, key: str, request_sha256: bytes) -> StoredAnswer | None:
    """
    What the first request with a key was answered; claims nothing.

    Raises:
        IdempotencyKeyReused: If the key was used with another body.
    """
    row = session.get(IdempotencyKey, (uuid.UUID(user_id), key))
    if row is None or row.status is None or _is_over(session, row):
        return None
    if row.request_sha256 != request_sha256:
        raise _reused()
    return StoredAnswer(status=row.status, response=row.response or {}, location=row.location)


def finish(
    session: Session,
    user_id: str,
    key: str,
    *,
    status: int,
    response: JsonObject,
    location: str | None = None,
) -> None:
    """Store the answer; in the transaction of the work, so that there is never one without."""
    session.execute(
        update(IdempotencyKey)
        .where(IdempotencyKey.user_id == uuid.UUID(user_id), IdempotencyKey.key == key)
        .values(status=status, response=response, location=location)
    )


def abandon(session: Session, user_id: str, key: str) -> None:
    """Free a key whose request failed: a repeat runs anew. A stored answer stays."""
    session.execute(
        delete(IdempotencyKey).where(
            IdempotencyKey.user_id == uuid.UUID(user_id),
            IdempotencyKey.key == key,
            IdempotencyKey.status.is_(None),
        )
    )


def _is_over(session: Session, row: IdempotencyKey) -> bool:
    age = session.execute(select(func.now())).scalar_one() - row.created_at
    if age > KEPT:
        return True
    if row.status is not None:
        return False
    return age > RUNNING_AT_MOST or (age > RUNNER_SILENCE and _has_died(session, row.runner))


def _has_died(session: Session, runner: str | None) -> bool:
    if runner is None:
        return False
    seen = select(Follower.replica_id).where(
        Follower.replica_id == runner, Follower.seen_at > func.now() - RUNNER_SILENCE
    )
    return session.scalar(seen) is None


def _in_use() -> IdempotencyKeyInUse:
    return IdempotencyKeyInUse(
        "the first request with this Idempotency-Key is still running: ask again",
        retry_after_s=RETRY_AFTER_S,
    )


def _reused() -> IdempotencyKeyReused:
    return IdempotencyKeyReused(
        "this Idempotency-Key was used for another request: use a new one for each request"
    )

"""Deletes what has served its time, so that the tables that every minute adds to stay small."""

from datetime import timedelta

from sqlalchemy import ColumnElement, delete, func, select, text, update
from sqlalchemy.orm import Session

from serve_app.registry.sessions import delete_expired
from serve_app.registry.tables import (
    ApiKey,
    Base,
    Change,
    Follower,
    IdempotencyKey,
    PredictionStats,
)

#: Replicas cut off for longer forget all they know when they come back.
KEPT_CHANGES = timedelta(days=1)
KEPT_FOLLOWERS = timedelta(hours=1)
KEPT_ANSWERS = timedelta(days=1)
KEPT_STATS = timedelta(days=35)
#: An expired key is listed for so long, then counts as revoked: its name is free.
KEPT_EXPIRED_KEYS = timedelta(days=7)
_UNTRACKED = {"synchronize_session": False}
#: Key of the advisory lock: one replica at a time is enough.
PRUNE_LOCK = 0x736C6970_0003


def prune(session: Session) -> int:
    """Rows deleted; 0 also where another replica is at it."""
    taken = text("SELECT pg_try_advisory_xact_lock(:key)")
    if not session.execute(taken, {"key": PRUNE_LOCK}).scalar_one():
        return 0
    now = func.now()
    aged: tuple[tuple[type[Base], ColumnElement[bool]], ...] = (
        (Change, Change.at < now - KEPT_CHANGES),
        (Follower, Follower.seen_at < now - KEPT_FOLLOWERS),
        (IdempotencyKey, IdempotencyKey.created_at < now - KEPT_ANSWERS),
        (PredictionStats, PredictionStats.minute < now - KEPT_STATS),
    )
    expired = update(ApiKey).where(
        ApiKey.revoked_at.is_(None), ApiKey.expires_at < now - KEPT_EXPIRED_KEYS
    )
    session.execute(expired.values(revoked_at=now), execution_options=_UNTRACKED)
    count = sum(_delete(session, table, condition) for table, condition in aged)
    return count + delete_expired(session, before=session.execute(select(now)).scalar_one())


def _delete(session: Session, table: type[Base], condition: ColumnElement[bool]) -> int:
    result = session.connection().execute(delete(table).where(condition))
    return result.rowcount

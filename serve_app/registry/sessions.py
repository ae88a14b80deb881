"""
Sessions in the registry: the family of refresh tokens that begins with a login.

    login ──► token 1 ──refresh──► token 2 ──refresh──► token 3
                 └ again within the grace: token 2 once more; later: the family ends
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from serve_app.registry.database import record_change
from serve_app.registry.tables import RefreshFamily, RefreshToken, User

#: A client, or a proxy on its behalf, may repeat a refresh whose answer it lost.
GRACE = timedelta(seconds=10)


@dataclass(frozen=True, kw_only=True, slots=True)
class RefreshGrant:
    """A refresh token to hand out: its identity, not its text."""

    user_id: str
    family_id: str
    token_id: str
    session_epoch: int
    #: Whole seconds, so that the same grant always makes the same token.
    expires_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Rotation:
    """Outcome of a refresh; only ``granted`` and ``repeated`` carry a grant."""

    outcome: Literal["granted", "repeated", "refused", "reused"]
    grant: RefreshGrant | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionIdentity:
    """What an access token stands for at this moment."""

    user_id: str
    email: str
    role: str
    is_active: bool
    session_epoch: int
    limits: dict[str, int]
    is_revoked: bool


def open_session(
    session: Session, user_id: str, *, session_epoch: int, lifetime_s: int, now: datetime
) -> RefreshGrant:
    """A new family with its first token."""
    family = RefreshFamily(id=uuid.uuid4(), user_id=uuid.UUID(user_id))
    session.add(family)
    session.flush()
    return _grant(session, family, session_epoch=session_epoch, lifetime_s=lifetime_s, now=now)


def rotate(
    session: Session,
    *,
    family_id: str,
    token_id: str,
    session_epoch: int,
    lifetime_s: int,
    now: datetime,
) -> Rotation:
    """
    Spend a refresh token; a reuse after the grace ends its family.

    The caller must commit whatever the outcome: ending the family is part of it.
    """
    # The family's lock makes two refreshes of one session take turns.
    family = session.get(RefreshFamily, uuid.UUID(family_id), with_for_update=True)
    token = session.get(RefreshToken, uuid.UUID(token_id))
    if family is None or token is None or token.family_id != family.id:
        return Rotation(outcome="refused")
    user = session.get(User, family.user_id)
    is_live = user is not None and user.is_active and user.session_epoch == session_epoch
    if family.revoked_at is not None or not is_live or token.expires_at <= now:
        return Rotation(outcome="refused")
    if token.spent_at is not None:
        return _repeat(session, family, token, session_epoch=session_epoch, now=now)
    grant = _grant(session, family, session_epoch=session_epoch, lifetime_s=lifetime_s, now=now)
    token.spent_at = now
    token.successor_id = uuid.UUID(grant.token_id)
    return Rotation(outcome="granted", grant=grant)


def end_session(session: Session, family_id: str) -> bool:
    """End one family; false if there is none, or it had ended."""
    family = session.get(RefreshFamily, uuid.UUID(family_id), with_for_update=True)
    if family is None or family.revoked_at is not None:
        return False
    _revoke(session, family)
    return True


def find_session(session: Session, *, user_id: str, family_id: str) -> SessionIdentity | None:
    """User and state of a session, in one query; ``None`` if it never was this user's."""
    statement = (
        select(User, RefreshFamily.revoked_at)
        .join(RefreshFamily, RefreshFamily.user_id == User.id)
        .where(User.id == uuid.UUID(user_id), RefreshFamily.id == uuid.UUID(family_id))
    )
    row = session.execute(statement).one_or_none()
    if row is None:
        return None
    user, revoked_at = row
    return SessionIdentity(
        user_id=str(user.id),
        email=user.email,
        role=user.role,
        is_active=user.is_active,
        session_epoch=user.session_epoch,
        limits=dict(user.limits),
        is_revoked=revoked_at is not None,
    )


def delete_expired(session: Session, *, before: datetime) -> int:
    """Forget tokens that expired before then, and families left without any; returns tokens."""
    expired = delete(RefreshToken).where(RefreshToken.expires_at < before)
    count = len(session.scalars(expired.returning(RefreshToken.id)).all())
    left = select(RefreshToken.id).where(RefreshToken.family_id == RefreshFamily.id).exists()
    empty = delete(RefreshFamily).where(RefreshFamily.created_at < before, ~left)
    session.execute(empty, execution_options={"synchronize_session": False})
    return count


def _repeat(
    session: Session,
    family: RefreshFamily,
    token: RefreshToken,
    *,
    session_epoch: int,
    now: datetime,
) -> Rotation:
    successor = None
    if token.successor_id is not None:
        successor = session.get(RefreshToken, token.successor_id)
    if successor is None or token.spent_at is None or now - token.spent_at > GRACE:
        _revoke(session, family)
        return Rotation(outcome="reused")
    grant = RefreshGrant(
        user_id=str(family.user_id),
        family_id=str(family.id),
        token_id=str(successor.id),
        session_epoch=session_epoch,
        expires_at=successor.expires_at,
    )
    return Rotation(outcome="repeated", grant=grant)


def _grant(
    session: Session, family: RefreshFamily, *, session_epoch: int, lifetime_s: int, now: datetime
) -> RefreshGrant:
    expires_at = now.replace(microsecond=0) + timedelta(seconds=lifetime_s)
    token = RefreshToken(id=uuid.uuid4(), family_id=family.id, expires_at=expires_at)
    session.add(token)
    session.flush()
    return RefreshGrant(
        user_id=str(family.user_id),
        family_id=str(family.id),
        token_id=str(token.id),
        session_epoch=session_epoch,
        expires_at=expires_at,
    )


def _revoke(session: Session, family: RefreshFamily) -> None:
    statement = update(RefreshFamily).where(RefreshFamily.id == family.id)
    session.execute(statement.values(revoked_at=func.now()))
    # Access tokens of the session end with it: they are cached by user.
    record_change(session, "user", family.user_id)

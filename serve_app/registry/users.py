"""
Accounts in the registry: rows in, frozen values out.

Whatever ends sessions raises the session epoch and revokes the refresh families in the same
transaction that announces the change; passwords are in ``logins``.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cluster.errors import Conflict, NotFound
from serve_app.registry.database import record_change
from serve_app.registry.tables import RefreshFamily, User

#: Serialises changes that could leave no administrator; any constant that is ours.
ADMINS_LOCK = 0x736C6970_0002


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """A user as everybody but the password check sees them."""

    id: str
    email: str
    full_name: str | None
    role: str
    is_active: bool
    session_epoch: int
    limits: Mapping[str, int]
    created_at: datetime


def create_user(
    session: Session,
    *,
    email: str,
    password_hash: str,
    role: str,
    full_name: str | None = None,
) -> Account:
    """
    A new active account; ``email`` is stored in lower case.

    Raises:
        Conflict: If the address is taken.
    """
    statement = (
        insert(User)
        .values(
            id=uuid.uuid4(),
            email=email.lower(),
            password_hash=password_hash,
            role=role,
            full_name=full_name,
        )
        .on_conflict_do_nothing(index_elements=[User.email])
        .returning(User)
    )
    user = session.scalars(statement).one_or_none()
    if user is None:
        raise Conflict("an account with this e-mail address exists: sign in", code="email_taken")
    record_change(session, "user", user.id)
    return account_of(user)


def get_user(session: Session, user_id: str) -> Account:
    """
    The account with this id.

    Raises:
        NotFound: If there is none.
    """
    return account_of(get_user_row(session, user_id))


def get_user_by_email(session: Session, email: str) -> Account:
    """
    The account with this e-mail address, in any case.

    Raises:
        NotFound: If there is none.
    """
    user = session.scalars(select(User).where(User.email == email.lower())).one_or_none()
    if user is None:
        raise NotFound(f"no user {email!r}", email=email)
    return account_of(user)


def list_users(
    session: Session,
    *,
    limit: int,
    offset: int,
    role: str | None = None,
    is_active: bool | None = None,
) -> tuple[list[Account], int]:
    """One page of accounts, oldest first, and how many there are in all."""
    matching = select(User)
    if role is not None:
        matching = matching.where(User.role == role)
    if is_active is not None:
        matching = matching.where(User.is_active.is_(is_active))
    total = session.scalar(select(func.count()).select_from(matching.subquery())) or 0
    page = matching.order_by(User.created_at, User.id).limit(limit).offset(offset)
    return [account_of(user) for user in session.scalars(page)], total


def update_user(
    session: Session,
    user_id: str,
    *,
    role: str | None = None,
    is_active: bool | None = None,
    limits: Mapping[str, int | None] | None = None,
) -> Account:
    """
    The account after the change; deactivation ends its sessions.

    Args:
        session: Of a ``Database.write``.
        user_id: Whose account.
        role: Its new role, if it changes.
        is_active: Whether it may be used, if that changes.
        limits: Overrides to set; None takes one back, those not named stay.

    Raises:
        NotFound: If there is no such user.
        Conflict: If nobody would be left to administer the platform.
    """
    session.execute(select(func.pg_advisory_xact_lock(ADMINS_LOCK)))
    user = get_user_row(session, user_id, for_update=True)
    changes: dict[str, Any] = {}
    if role is not None:
        changes["role"] = role
    if is_active is not None:
        changes["is_active"] = is_active
    if limits is not None:
        merged = {**user.limits, **limits}
        changes["limits"] = {name: value for name, value in merged.items() if value is not None}
    _refuse_without_admin(session, user, changes)
    for name, value in changes.items():
        setattr(user, name, value)
    if is_active is False:
        end_user_sessions(session, user)
    record_change(session, "user", user.id)
    session.flush()
    return account_of(user)


def count_users(session: Session) -> int:
    """How many accounts there are, inactive ones included."""
    return session.scalar(select(func.count()).select_from(User)) or 0


def get_user_row(session: Session, user_id: str, *, for_update: bool = False) -> User:
    """
    The row itself, for the registry's own modules.

    Raises:
        NotFound: If there is none.
    """
    try:
        key = uuid.UUID(user_id)
    except ValueError:
        raise NotFound(f"no user {user_id!r}", user=user_id) from None
    user = session.get(User, key, with_for_update=True if for_update else None)
    if user is None:
        raise NotFound(f"no user {user_id!r}", user=user_id)
    return user


def _refuse_without_admin(session: Session, user: User, changes: Mapping[str, Any]) -> None:
    is_admin_now = user.role == "admin" and user.is_active
    stays = changes.get("role", user.role) == "admin" and changes.get("is_active", user.is_active)
    if not is_admin_now or stays:
        return
    others = select(func.count()).select_from(User)
    others = others.where(User.role == "admin", User.is_active.is_(True), User.id != user.id)
    if not session.scalar(others):
        raise Conflict(
            "this is the only active administrator: make another one first", code="last_admin"
        )


def end_user_sessions(session: Session, user: User) -> None:
    """Raise the epoch, so that access tokens fall, and revoke the families of refresh tokens."""
    user.session_epoch += 1
    live = update(RefreshFamily).where(
        RefreshFamily.user_id == user.id, RefreshFamily.revoked_at.is_(None)
    )
    session.execute(live.values(revoked_at=func.now()))


def account_of(user: User) -> Account:
    """The row as a value."""
    return Account(
        id=str(user.id),
        email=user.email,
        full_name=user.full_name,
        role=user.role,
        is_active=user.is_active,
        session_epoch=user.session_epoch,
        limits=dict(user.limits),
        created_at=user.created_at,
    )

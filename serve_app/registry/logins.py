"""Passwords in the registry: what a login is checked against, and what ends every session."""

import uuid
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from serve_app.registry.database import record_change
from serve_app.registry.tables import User
from serve_app.registry.users import Account, account_of, end_user_sessions, get_user_row


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """What a login is checked against; the hash stays out of ``repr``."""

    account: Account
    password_hash: str

    def __repr__(self) -> str:
        return f"Login(account={self.account.id!r})"


def find_login(session: Session, email: str) -> Login | None:
    """Account and password hash for an e-mail address, active or not."""
    if "\0" in email:
        # PostgreSQL has no text with it; the answer must be that of any unknown address.
        return None
    user = session.scalars(select(User).where(User.email == email.lower())).one_or_none()
    return None if user is None else _login(user)


def set_password(session: Session, user_id: str, password_hash: str) -> Account:
    """
    The account with another password and no session left.

    Raises:
        NotFound: If there is no such user.
    """
    user = get_user_row(session, user_id, for_update=True)
    user.password_hash = password_hash
    end_user_sessions(session, user)
    record_change(session, "user", user.id)
    session.flush()
    return account_of(user)


def refresh_hash(session: Session, user_id: str, *, old: str, new: str) -> None:
    """Store the same password hashed by today's parameters, unless it was changed meanwhile."""
    statement = update(User).where(User.id == uuid.UUID(user_id), User.password_hash == old)
    session.execute(statement.values(password_hash=new))


def _login(user: User) -> Login:
    return Login(account=account_of(user), password_hash=user.password_hash)

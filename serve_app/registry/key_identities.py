"""API keys together with who holds them: looked up one by one, or those of the last hour."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from serve_app.registry.keys import KeyRecord, is_unexpired, key_record
from serve_app.registry.tables import ApiKey, User

#: Of keys that count as in use.
RECENT = timedelta(hours=1)
MOST_RECENT = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyIdentity:
    """A key and its owner as they are at this moment."""

    key: KeyRecord
    key_sha256: bytes
    is_revoked: bool
    email: str
    role: str
    is_active: bool
    limits: dict[str, int]


def find_key(session: Session, key_sha256: bytes) -> KeyIdentity | None:
    """The key with this digest and its owner, in one query."""
    statement = (
        select(ApiKey, User)
        .join(User, User.id == ApiKey.user_id)
        .where(ApiKey.key_sha256 == key_sha256)
    )
    row = session.execute(statement).one_or_none()
    return None if row is None else _identity(*row)


def recent_keys(session: Session) -> list[KeyIdentity]:
    """The keys that hold and were used or made within ``RECENT``, the last ones used first."""
    used_at = func.coalesce(ApiKey.last_used_at, ApiKey.created_at)
    statement = (
        select(ApiKey, User)
        .join(User, User.id == ApiKey.user_id)
        .where(
            used_at > func.now() - RECENT,
            ApiKey.revoked_at.is_(None),
            User.is_active,
            is_unexpired(),
        )
        .order_by(used_at.desc())
        .limit(MOST_RECENT)
    )
    return [_identity(key, user) for key, user in session.execute(statement)]


def _identity(key: ApiKey, user: User) -> KeyIdentity:
    return KeyIdentity(
        key=key_record(key),
        key_sha256=key.key_sha256,
        is_revoked=key.revoked_at is not None,
        email=user.email,
        role=user.role,
        is_active=user.is_active,
        limits=dict(user.limits),
    )

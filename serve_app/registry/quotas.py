"""How much an account may own, and how much it does."""

import uuid
from dataclasses import dataclass
from typing import Self

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cluster.errors import QuotaExceeded
from cluster.settings import Settings
from serve_app.registry.tables import Model, ModelVersion, User

#: Nothing frees itself; a client that retries is told to take its time.
RETRY_AFTER_S = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    """The most an account may own; an admin may override both for one user."""

    max_models: int
    max_bytes: int

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """What an account may own unless an admin said otherwise."""
        return cls(max_models=settings.max_models_per_user, max_bytes=settings.max_bytes_per_user)


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What an account owns now, deleted things apart."""

    models: int
    size_bytes: int


def usage(session: Session, user_id: str) -> Usage:
    """Models and bytes of one account."""
    owned = (Model.owner_id == uuid.UUID(user_id), Model.deleted_at.is_(None))
    models = session.scalar(select(func.count()).select_from(Model).where(*owned))
    size = session.scalar(
        select(func.coalesce(func.sum(ModelVersion.size_bytes), 0))
        .join(Model, Model.id == ModelVersion.model_id)
        .where(*owned, ModelVersion.deleted_at.is_(None))
    )
    return Usage(models=int(models or 0), size_bytes=int(size or 0))


def check_quota(
    session: Session,
    user_id: str,
    quota: Quota,
    *,
    new_models: int = 0,
    new_bytes: int = 0,
    is_locked: bool = False,
) -> None:
    """
    Do nothing where the account may own that much more.

    Args:
        session: Any session; ``is_locked`` needs one of ``Database.write``.
        user_id: The owner to be.
        quota: The platform's figures; the user's own overrides win.
        new_models: Models about to be made.
        new_bytes: Bytes about to be kept.
        is_locked: Makes uploads of one account take turns until they commit.

    Raises:
        QuotaExceeded: Naming the bound and what to do.
    """
    quota = _effective(session, user_id, quota, is_locked=is_locked)
    used = usage(session, user_id)
    if used.models + new_models > quota.max_models:
        raise _exceeded(
            f"you own {used.models} models and may own {quota.max_models}: delete one, or ask an"
            " admin for more"
        )
    if used.size_bytes + new_bytes > quota.max_bytes:
        raise _exceeded(
            f"your models take {used.size_bytes} bytes and this one {new_bytes}; you may own"
            f" {quota.max_bytes}: delete versions, or ask an admin for more"
        )


def _effective(session: Session, user_id: str, quota: Quota, *, is_locked: bool) -> Quota:
    statement = select(User.limits).where(User.id == uuid.UUID(user_id))
    if is_locked:
        statement = statement.with_for_update(key_share=True)
    limits = session.scalar(statement) or {}
    return Quota(
        max_models=int(limits.get("max_models") or quota.max_models),
        max_bytes=int(limits.get("max_bytes") or quota.max_bytes),
    )


def _exceeded(sentence: str) -> QuotaExceeded:
    return QuotaExceeded(sentence, retry_after_s=RETRY_AFTER_S)

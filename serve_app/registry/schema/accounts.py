"""Who may call: users, their sessions and their API keys."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID
from sqlalchemy.orm import Mapped, mapped_column, relationship

from serve_app.registry.schema.base import Base, Timestamp, row_id, set_now


class User(Base):
    """An account; ``session_epoch`` rises when all of its sessions are to end."""

    __tablename__ = "users"

    id: Mapped[uuid.UUID] = row_id()
    email: Mapped[str] = mapped_column(String(254), unique=True)
    """Lower case."""
    password_hash: Mapped[str] = mapped_column(Text)
    full_name: Mapped[str | None] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(20))
    is_active: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    session_epoch: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    limits: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    """Overrides by an admin: rate_limit, max_models, max_bytes, max_keys."""
    created_at: Mapped[datetime] = set_now()


class RefreshFamily(Base):
    """The chain of refresh tokens that began with one login."""

    __tablename__ = "refresh_families"

    id: Mapped[uuid.UUID] = row_id()
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)
    created_at: Mapped[datetime] = set_now()
    revoked_at: Mapped[datetime | None] = mapped_column(Timestamp)


class RefreshToken(Base):
    """One refresh token; spent tokens stay until they expire, so that reuse is seen."""

    __tablename__ = "refresh_tokens"

    id: Mapped[uuid.UUID] = row_id()
    """The token's ``jti``."""
    family_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("refresh_families.id"), index=True)
    expires_at: Mapped[datetime] = mapped_column(Timestamp, index=True)
    spent_at: Mapped[datetime | None] = mapped_column(Timestamp)
    successor_id: Mapped[uuid.UUID | None] = mapped_column(UUID(as_uuid=True))
    """What a retry within the grace gets again."""


class ApiKey(Base):
    """An API key; only the SHA-256 of the whole key is stored."""

    __tablename__ = "api_keys"
    __table_args__ = (
        Index(
            "uq_api_keys_user_id_name",
            "user_id",
            "name",
            unique=True,
            postgresql_where=text("revoked_at IS NULL"),
        ),
    )

    id: Mapped[uuid.UUID] = row_id()
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    prefix: Mapped[str] = mapped_column(String(20), index=True)
    key_sha256: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(String(32)))
    models: Mapped[list[str] | None] = mapped_column(ARRAY(String(64)))
    """Model ids the key is tied to; null for all."""
    rate_limit: Mapped[int | None] = mapped_column(Integer)
    expires_at: Mapped[datetime | None] = mapped_column(Timestamp)
    last_used_at: Mapped[datetime | None] = mapped_column(Timestamp)
    revoked_at: Mapped[datetime | None] = mapped_column(Timestamp)
    created_at: Mapped[datetime] = set_now()

    user: Mapped[User] = relationship(lazy="raise")

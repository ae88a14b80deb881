"""
The registry's tables, as SQLAlchemy models; Alembic's migrations must agree (a test compares).

    users ─┬─ refresh_families ── refresh_tokens
           ├─ api_keys
           ├─ models ─┬─ model_versions
           │          ├─ model_aliases
           │          └─ model_shares
           └─ idempotency_keys
    audit_events   changes   followers   prediction_stats   death_charges
"""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

Timestamp = DateTime(timezone=True)


class Base(DeclarativeBase):
    """Common base; constraint names are fixed so that migrations can name them."""


def _id() -> Mapped[uuid.UUID]:
    return mapped_column(UUID(as_uuid=True), primary_key=True, default=uuid.uuid4)


def _now() -> Mapped[datetime]:
    return mapped_column(Timestamp, server_default=func.now())


class User(Base):
    """An account; ``session_epoch`` rises when all of its sessions are to end."""

    __tablename__ = "users"

    id: Mapped[uuid.UUID] = _id()
    email: Mapped[str] = mapped_column(String(254), unique=True)
    """Lower case."""
    password_hash: Mapped[str] = mapped_column(Text)
    full_name: Mapped[str | None] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(20))
    is_active: Mapped[bool] = mapped_column(Boolean, server_default=text("true"))
    session_epoch: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    limits: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    """Overrides by an admin: rate_limit, max_models, max_bytes, max_keys."""
    created_at: Mapped[datetime] = _now()


class RefreshFamily(Base):
    """The chain of refresh tokens that began with one login."""

    __tablename__ = "refresh_families"

    id: Mapped[uuid.UUID] = _id()
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)
    created_at: Mapped[datetime] = _now()
    revoked_at: Mapped[datetime | None] = mapped_column(Timestamp)


class RefreshToken(Base):
    """One refresh token; spent tokens stay until they expire, so that reuse is seen."""

    __tablename__ = "refresh_tokens"

    id: Mapped[uuid.UUID] = _id()
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

    id: Mapped[uuid.UUID] = _id()
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
    created_at: Mapped[datetime] = _now()

    user: Mapped[User] = relationship(lazy="raise")


class Model(Base):
    """A named model of one owner; deleted ones keep their row and free their name."""

    __tablename__ = "models"
    __table_args__ = (
        Index("ix_models_owner_id", "owner_id"),
        Index("ix_models_name", "name"),
        Index("ix_models_status", "status"),
        Index("ix_models_created_at", "created_at"),
        Index("ix_models_owner_id_status", "owner_id", "status"),
        Index(
            "uq_models_owner_id_name",
            "owner_id",
            "name",
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )

    id: Mapped[uuid.UUID] = _id()
    owner_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(64))
    description: Mapped[str | None] = mapped_column(String(2000))
    status: Mapped[str] = mapped_column(String(20), server_default=text("'ready'"))
    """ready | quarantined: the status of the version that `production` names."""
    visibility: Mapped[str] = mapped_column(String(20), server_default=text("'private'"))
    """private | shared | public."""
    feature_bounds: Mapped[dict[str, Any]] = mapped_column(
        JSONB, server_default=text("'{}'::jsonb")
    )
    """feature name -> {min?, max?}."""
    latest_version: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    created_at: Mapped[datetime] = _now()
    updated_at: Mapped[datetime] = _now()
    deleted_at: Mapped[datetime | None] = mapped_column(Timestamp)

    versions: Mapped[list["ModelVersion"]] = relationship(
        back_populates="model", lazy="raise", order_by="ModelVersion.number"
    )
    aliases: Mapped[list["ModelAlias"]] = relationship(back_populates="model", lazy="raise")
    shares: Mapped[list["ModelShare"]] = relationship(back_populates="model", lazy="raise")


class ModelVersion(Base):
    """One vetted file of a model and all that vetting found out."""

    __tablename__ = "model_versions"
    __table_args__ = (UniqueConstraint("model_id", "number", name="uq_model_versions_number"),)

    id: Mapped[uuid.UUID] = _id()
    model_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("models.id"), index=True)
    number: Mapped[int] = mapped_column(Integer)
    status: Mapped[str] = mapped_column(String(20), server_default=text("'ready'"))
    """ready | quarantined."""
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    format: Mapped[str] = mapped_column(String(10))
    signature: Mapped[dict[str, Any]] = mapped_column(JSONB)
    report: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """The rest of the VetReport: engines, notes, costs, memory, warnings, canary, libraries."""
    examples: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    created_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = _now()
    deleted_at: Mapped[datetime | None] = mapped_column(Timestamp)

    model: Mapped[Model] = relationship(back_populates="versions", lazy="raise")


class ModelAlias(Base):
    """A movable name for a version; ``production`` is what an unversioned call uses."""

    __tablename__ = "model_aliases"

    model_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("models.id"), primary_key=True)
    alias: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[int] = mapped_column(Integer)
    previous_version: Mapped[int | None] = mapped_column(Integer)
    """Where a rollback goes."""
    updated_at: Mapped[datetime] = _now()

    model: Mapped[Model] = relationship(back_populates="aliases", lazy="raise")


class ModelShare(Base):
    """A user with whom a model is shared."""

    __tablename__ = "model_shares"

    model_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("models.id"), primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), primary_key=True, index=True)

    model: Mapped[Model] = relationship(back_populates="shares", lazy="raise")
    user: Mapped[User] = relationship(lazy="raise")


class IdempotencyKey(Base):
    """What a creating POST answered, for 24 h."""

    __tablename__ = "idempotency_keys"

    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_sha256: Mapped[bytes] = mapped_column(LargeBinary)
    """Of method, path and body."""
    status: Mapped[int | None] = mapped_column(Integer)
    """Null while the first request runs."""
    runner: Mapped[str | None] = mapped_column(String(128))
    """Replica that runs it; if that one is gone, a repeat need not wait."""
    response: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    location: Mapped[str | None] = mapped_column(String(300))
    created_at: Mapped[datetime] = mapped_column(Timestamp, server_default=func.now(), index=True)


class AuditEvent(Base):
    """Who did what to which thing, from where; only ever inserted."""

    __tablename__ = "audit_events"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(Timestamp, server_default=func.now(), index=True)
    actor_id: Mapped[uuid.UUID | None] = mapped_column(UUID(as_uuid=True), index=True)
    actor: Mapped[str] = mapped_column(String(254))
    """E-mail, "cli" or "anonymous"."""
    action: Mapped[str] = mapped_column(String(64), index=True)
    """verb after noun: model.upload, alias.move, key.revoke, upload.refused…"""
    target_type: Mapped[str] = mapped_column(String(32))
    target_id: Mapped[str] = mapped_column(String(128), index=True)
    address: Mapped[str | None] = mapped_column(String(64))
    request_id: Mapped[str | None] = mapped_column(String(128))
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))


class Change(Base):
    """
    The sequence that ingress replicas follow; written in the transaction it announces.

    Writers insert under an advisory lock as their last statement, so sequences commit in order and
    one number says everything up to it has been applied.
    """

    __tablename__ = "changes"

    sequence: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime] = mapped_column(Timestamp, server_default=func.now(), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    """model | user | key | limits."""
    subject: Mapped[str] = mapped_column(String(64))
    """Id of what changed."""


class Follower(Base):
    """An ingress replica and the sequence it has applied; writers wait for the live ones."""

    __tablename__ = "followers"

    replica_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    applied_sequence: Mapped[int] = mapped_column(BigInteger)
    seen_at: Mapped[datetime] = _now()


class PredictionStats(Base):
    """Predictions of one version in one minute as one ingress replica saw them."""

    __tablename__ = "prediction_stats"

    model_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("models.id"), primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    minute: Mapped[datetime] = mapped_column(Timestamp, primary_key=True, index=True)
    replica_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    requests: Mapped[int] = mapped_column(Integer)
    errors: Mapped[int] = mapped_column(Integer)
    latency_histogram: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    """Counts by the bucket bounds of ``serve_app.registry.latency``."""


class DeathCharge(Base):
    """A replica that crashed while this version alone was executing on it; once each."""

    __tablename__ = "death_charges"

    model_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("models.id"), primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    replica_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    at: Mapped[datetime] = _now()

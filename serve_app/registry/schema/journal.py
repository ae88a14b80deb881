"""What happened: answers, audit events, changes, statistics and deaths."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Identity,
    Integer,
    LargeBinary,
    String,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID
from sqlalchemy.orm import Mapped, mapped_column

from serve_app.registry.schema.base import Base, Timestamp, set_now


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
    seen_at: Mapped[datetime] = set_now()


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
    at: Mapped[datetime] = set_now()

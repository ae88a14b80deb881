"""What is served: models, versions, aliases and who shares them."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from serve_app.registry.schema.accounts import User
from serve_app.registry.schema.base import Base, Timestamp, row_id, set_now


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

    id: Mapped[uuid.UUID] = row_id()
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
    created_at: Mapped[datetime] = set_now()
    updated_at: Mapped[datetime] = set_now()
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

    id: Mapped[uuid.UUID] = row_id()
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
    created_at: Mapped[datetime] = set_now()
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
    updated_at: Mapped[datetime] = set_now()

    model: Mapped[Model] = relationship(back_populates="aliases", lazy="raise")


class ModelShare(Base):
    """A user with whom a model is shared."""

    __tablename__ = "model_shares"

    model_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("models.id"), primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), primary_key=True, index=True)

    model: Mapped[Model] = relationship(back_populates="shares", lazy="raise")
    user: Mapped[User] = relationship(lazy="raise")

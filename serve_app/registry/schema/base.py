"""The base of every table, and columns that many have."""

import uuid
from datetime import datetime

from sqlalchemy import DateTime, func
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Timestamp = DateTime(timezone=True)


class Base(DeclarativeBase):
    """Common base; constraint names are fixed so that migrations can name them."""


def row_id() -> Mapped[uuid.UUID]:
    """A primary key that is made here."""
    return mapped_column(UUID(as_uuid=True), primary_key=True, default=uuid.uuid4)


def set_now() -> Mapped[datetime]:
    """A time that the server sets."""
    return mapped_column(Timestamp, server_default=func.now())

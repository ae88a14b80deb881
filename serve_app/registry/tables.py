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

from serve_app.registry.schema.accounts import ApiKey, RefreshFamily, RefreshToken, User
from serve_app.registry.schema.base import Base
from serve_app.registry.schema.catalog import Model, ModelAlias, ModelShare, ModelVersion
from serve_app.registry.schema.journal import (
    AuditEvent,
    Change,
    DeathCharge,
    Follower,
    IdempotencyKey,
    PredictionStats,
)

__all__ = [
    "ApiKey",
    "AuditEvent",
    "Base",
    "Change",
    "DeathCharge",
    "Follower",
    "IdempotencyKey",
    "Model",
    "ModelAlias",
    "ModelShare",
    "ModelVersion",
    "PredictionStats",
    "RefreshFamily",
    "RefreshToken",
    "User",
]

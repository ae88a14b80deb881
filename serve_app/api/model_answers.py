"""What the model routes answer, made from the registry's records and shown by OpenAPI."""

from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel

from deployments.signatures.storage import public_signature, signature_from_json
from serve_app.registry.names import PRODUCTION
from serve_app.registry.records import (
    AliasRecord,
    ModelRecord,
    UploadRecord,
    VersionRecord,
    VersionSummary,
)

Status = Literal["ready", "quarantined"]
Visibility = Literal["private", "shared", "public"]


def endpoint_of(name: str) -> str:
    """Path that predicts with the owner's model of this name."""
    return f"/api/v1/models/{name}/predict"


def engine_of(engines: dict[str, str]) -> str:
    """The engine that answers the model's main method."""
    return engines.get("predict") or next(iter(engines.values()), "native")


class UploadAnswer(BaseModel):
    """An accepted upload."""

    id: UUID
    name: str
    version: int
    status: Status
    format: str
    sha256: str
    signature: dict[str, Any]
    engine: str
    endpoint: str
    #: Absent where there is nothing to warn of.
    warnings: list[str] | None = None

    @classmethod
    def of(cls, record: UploadRecord) -> Self:
        """The answer to a POST that made, or found, this version."""
        model, version = record.model, record.version
        return cls.model_validate(
            {
                "id": model.id,
                "name": model.name,
                "version": version.number,
                "status": version.status,
                "format": version.format,
                "sha256": version.sha256,
                "signature": public_signature(signature_from_json(version.signature)),
                "engine": engine_of(version.engines),
                "endpoint": endpoint_of(model.name),
                "warnings": version.report.get("warnings") or None,
            }
        )


class ModelAnswer(BaseModel):
    """A model."""

    id: UUID
    name: str
    description: str | None
    owner_id: UUID
    owner: str
    status: Status
    visibility: Visibility
    #: E-mails; told to the owner and admins alone.
    shared_with: list[str]
    feature_bounds: dict[str, Any]
    #: None where every version was deleted.
    latest_version: int | None
    #: The version that an unversioned call uses.
    production: int | None
    aliases: dict[str, int]
    endpoint: str
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, record: ModelRecord, *, is_managed: bool) -> Self:
        """
        The model as this caller sees it.

        Args:
            record: From the registry.
            is_managed: Whether the caller is its owner or an admin.
        """
        return cls.model_validate(
            {
                "id": record.id,
                "name": record.name,
                "description": record.description,
                "owner_id": record.owner_id,
                "owner": record.owner_email,
                "status": record.status,
                "visibility": record.visibility,
                "shared_with": list(record.shared_with) if is_managed else [],
                "feature_bounds": record.feature_bounds,
                "latest_version": record.latest.number if record.latest else None,
                "production": record.find_alias(PRODUCTION),
                "aliases": {item.alias: item.version for item in record.aliases},
                "endpoint": endpoint_of(record.name if is_managed else record.id),
                "created_at": record.created_at,
                "updated_at": record.updated_at,
            }
        )


class ModelPage(BaseModel):
    """One page of models."""

    items: list[ModelAnswer]
    total: int
    limit: int
    offset: int


class VersionListed(BaseModel):
    """A version as the list shows it."""

    version: int
    status: Status
    format: str
    sha256: str
    size_bytes: int
    engine: str
    aliases: list[str]
    created_at: datetime

    @classmethod
    def of(cls, record: VersionSummary, aliases: tuple[AliasRecord, ...]) -> Self:
        """The version, with those of the model's aliases that name it."""
        return cls.model_validate(_summary(record, aliases))


class VersionPage(BaseModel):
    """One page of versions, newest first."""

    items: list[VersionListed]
    total: int
    limit: int
    offset: int


class VersionAnswer(VersionListed):
    """A version with all that vetting found out about it."""

    signature: dict[str, Any]
    engines: dict[str, str]
    #: method -> why a faster engine was not chosen.
    engine_notes: dict[str, str]
    cost_per_row_ms: dict[str, float]
    memory_bytes: int
    warnings: list[str]
    libraries: dict[str, str]
    examples: dict[str, Any] | None

    @classmethod
    def of_record(
        cls, record: VersionRecord, aliases: tuple[AliasRecord, ...], *, is_managed: bool
    ) -> Self:
        """The version as this caller sees it; examples are the owner's and admins'."""
        report = record.report
        return cls.model_validate(
            _summary(record, aliases)
            | {
                "signature": public_signature(signature_from_json(record.signature)),
                "engines": record.engines,
                "engine_notes": report.get("engine_notes", {}),
                "cost_per_row_ms": {
                    method: round(seconds * 1000, 4)
                    for method, seconds in report.get("cost_per_row_s", {}).items()
                },
                "memory_bytes": report.get("memory_bytes", 0),
                "warnings": report.get("warnings", []),
                "libraries": report.get("libraries", {}),
                "examples": record.examples if is_managed else None,
            }
        )


class AliasAnswer(BaseModel):
    """An alias: where it points and where a rollback would go."""

    alias: str
    version: int
    previous_version: int | None
    updated_at: datetime

    @classmethod
    def of(cls, record: AliasRecord) -> Self:
        """The alias of this record."""
        return cls(
            alias=record.alias,
            version=record.version,
            previous_version=record.previous_version,
            updated_at=record.updated_at,
        )


class AliasList(BaseModel):
    """Every alias of a model."""

    items: list[AliasAnswer]


def _summary(record: VersionSummary, aliases: tuple[AliasRecord, ...]) -> dict[str, Any]:
    return {
        "version": record.number,
        "status": record.status,
        "format": record.format,
        "sha256": record.sha256,
        "size_bytes": record.size_bytes,
        "engine": engine_of(record.engines),
        "aliases": [item.alias for item in aliases if item.version == record.number],
        "created_at": record.created_at,
    }

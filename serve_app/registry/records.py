"""What the registry gives out: plain values, free of sessions and of SQLAlchemy."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Generic, Self, TypeVar

from cluster.contracts import ArtifactFormat, CompiledForm, Examples, JsonObject, VetReport

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class NewVersion:
    """A vetted file on its way into the registry."""

    sha256: str
    size_bytes: int
    format: ArtifactFormat
    #: As ``deployments.signatures.storage.signature_to_json`` writes it.
    signature: JsonObject
    #: The rest of the VetReport.
    report: JsonObject
    examples: JsonObject | None = None

    @classmethod
    def from_report(
        cls, report: VetReport, *, sha256: str, size_bytes: int, examples: Examples | None = None
    ) -> Self:
        """What a Loader's verdict says of these bytes."""
        from deployments.signatures.storage import signature_to_json

        return cls(
            sha256=sha256,
            size_bytes=size_bytes,
            format=report.format,
            signature=signature_to_json(report.signature),
            report={
                "engines": report.engines,
                "engine_notes": report.engine_notes,
                "cost_per_row_s": report.cost_per_row_s,
                "memory_bytes": report.memory_bytes,
                "warnings": list(report.warnings),
                "canary": report.canary,
                "libraries": report.libraries,
                "compiled": _named(report.compiled),
            },
            examples=None if examples is None else asdict(examples),
        )


def _named(compiled: CompiledForm | None) -> JsonObject | None:
    if compiled is None:
        return None
    return {"sha256": compiled.sha256, "size_bytes": compiled.size_bytes}


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionSummary:
    """A version as lists show it."""

    id: str
    model_id: str
    number: int
    status: str
    sha256: str
    size_bytes: int
    format: ArtifactFormat
    #: method -> engine.
    engines: dict[str, str]
    created_by: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionRecord(VersionSummary):
    """A version with all that vetting found out."""

    signature: JsonObject
    report: JsonObject
    examples: JsonObject | None


@dataclass(frozen=True, kw_only=True, slots=True)
class AliasRecord:
    """Where an alias points, and where a rollback would go."""

    model_id: str
    alias: str
    version: int
    previous_version: int | None
    updated_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRecord:
    """A model with its aliases and its newest version."""

    id: str
    owner_id: str
    owner_email: str
    name: str
    description: str | None
    status: str
    visibility: str
    feature_bounds: JsonObject
    created_at: datetime
    updated_at: datetime
    aliases: tuple[AliasRecord, ...] = ()
    #: The newest version that is not deleted.
    latest: VersionSummary | None = None
    #: E-mails, for the owner's and admins' eyes.
    shared_with: tuple[str, ...] = ()

    def find_alias(self, alias: str) -> int | None:
        """The version an alias names, or ``None``."""
        return next((item.version for item in self.aliases if item.alias == alias), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadRecord:
    """What an upload made: the model, the version, and whether it was new."""

    model: ModelRecord
    version: VersionRecord
    #: False where the bytes equal the newest version's: that version is the answer.
    is_new: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Page(Generic[T]):
    """One page of a list, and how many there are in all."""

    items: tuple[T, ...]
    total: int
    limit: int
    offset: int

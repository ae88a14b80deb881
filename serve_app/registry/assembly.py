"""From rows to records, with a fixed number of statements however many models there are."""

from collections import defaultdict
from collections.abc import Sequence
from typing import cast
from uuid import UUID

from sqlalchemy import Row, Select, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from cluster.contracts import ArtifactFormat
from serve_app.registry.records import AliasRecord, ModelRecord, VersionRecord, VersionSummary
from serve_app.registry.tables import Model, ModelAlias, ModelShare, ModelVersion, User

_Summary = tuple[object, ...]
#: Without signature and report, which are long and which no list shows.
SUMMARY = (
    ModelVersion.id,
    ModelVersion.model_id,
    ModelVersion.number,
    ModelVersion.status,
    ModelVersion.sha256,
    ModelVersion.size_bytes,
    ModelVersion.format,
    ModelVersion.report["engines"].label("engines"),
    ModelVersion.created_by,
    ModelVersion.created_at,
)


def model_records(session: Session, rows: Sequence[Model]) -> tuple[ModelRecord, ...]:
    """Records in the order of ``rows``; four statements, none for no rows."""
    if not rows:
        return ()
    ids = [row.id for row in rows]
    aliases = _aliases(session, ids)
    latest = _latest(session, ids)
    shares = _shares(session, ids)
    owner_ids = {row.owner_id for row in rows}
    owners = session.execute(select(User.id, User.email).where(User.id.in_(owner_ids)))
    emails = dict(owners.all())
    return tuple(
        ModelRecord(
            id=str(row.id),
            owner_id=str(row.owner_id),
            owner_email=emails[row.owner_id],
            name=row.name,
            description=row.description,
            status=row.status,
            visibility=row.visibility,
            feature_bounds=row.feature_bounds,
            created_at=row.created_at,
            updated_at=row.updated_at,
            aliases=tuple(aliases[row.id]),
            latest=latest.get(row.id),
            shared_with=tuple(shares[row.id]),
        )
        for row in rows
    )


def model_record(session: Session, row: Model) -> ModelRecord:
    """The record of one row."""
    return model_records(session, [row])[0]


def version_record(row: ModelVersion) -> VersionRecord:
    """The record of one row, with signature and report."""
    return VersionRecord(
        id=str(row.id),
        model_id=str(row.model_id),
        number=row.number,
        status=row.status,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        format=cast(ArtifactFormat, row.format),
        engines=row.report.get("engines") or {},
        created_by=str(row.created_by),
        created_at=row.created_at,
        signature=row.signature,
        report=row.report,
        examples=row.examples,
    )


def version_summary(row: Row[_Summary]) -> VersionSummary:
    """The record of one row of ``SUMMARY``."""
    return VersionSummary(
        id=str(row.id),
        model_id=str(row.model_id),
        number=row.number,
        status=row.status,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        format=row.format,
        engines=row.engines or {},
        created_by=str(row.created_by),
        created_at=row.created_at,
    )


def alias_record(row: ModelAlias) -> AliasRecord:
    """The record of one row."""
    return AliasRecord(
        model_id=str(row.model_id),
        alias=row.alias,
        version=row.version,
        previous_version=row.previous_version,
        updated_at=row.updated_at,
    )


def _aliases(session: Session, ids: list[UUID]) -> dict[UUID, list[AliasRecord]]:
    found: dict[UUID, list[AliasRecord]] = defaultdict(list)
    statement = select(ModelAlias).where(ModelAlias.model_id.in_(ids)).order_by(ModelAlias.alias)
    for row in session.scalars(statement.execution_options(populate_existing=True)):
        found[row.model_id].append(alias_record(row))
    return found


def _latest(session: Session, ids: list[UUID]) -> dict[UUID, VersionSummary]:
    statement: Select[_Summary] = (
        select(*SUMMARY)
        .where(ModelVersion.model_id.in_(ids), ModelVersion.deleted_at.is_(None))
        .ext(distinct_on(ModelVersion.model_id))
        .order_by(ModelVersion.model_id, ModelVersion.number.desc())
    )
    return {row.model_id: version_summary(row) for row in session.execute(statement)}


def _shares(session: Session, ids: list[UUID]) -> dict[UUID, list[str]]:
    found: dict[UUID, list[str]] = defaultdict(list)
    statement = (
        select(ModelShare.model_id, User.email)
        .join(User, User.id == ModelShare.user_id)
        .where(ModelShare.model_id.in_(ids))
        .order_by(User.email)
    )
    for model_id, email in session.execute(statement):
        found[model_id].append(email)
    return found

"""Versions of a model: numbered without gaps under the model's lock, never renumbered."""

import uuid

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from cluster.errors import ModelConflict, ModelNotFound
from serve_app.registry.aliases import (
    get_alias_target,
    get_version_row,
    move_alias,
    now,
    touch,
)
from serve_app.registry.assembly import SUMMARY, model_record, version_record, version_summary
from serve_app.registry.names import MAX_VERSION, PRODUCTION, find_version_number
from serve_app.registry.quotas import Quota, check_quota
from serve_app.registry.records import (
    NewVersion,
    Page,
    UploadRecord,
    VersionRecord,
    VersionSummary,
)
from serve_app.registry.tables import DeathCharge, Model, ModelAlias, ModelVersion
from serve_app.registry.visibility import Viewer, find_row, get_row, get_row_to_change


def add_version(
    session: Session,
    viewer: Viewer,
    model: str,
    new: NewVersion,
    *,
    quota: Quota,
    is_promoted: bool = False,
) -> UploadRecord:
    """
    Give a model its next version; bytes equal to the newest version's are that version.

    Raises:
        ModelNotFound: If the caller may not see the model.
        NotPermitted: If it is not the caller's.
        QuotaExceeded: If its owner may not keep that many bytes.
    """
    # The owner's row is locked before the model's, here as in a first upload: no deadlock.
    owner_id = str(get_row(session, viewer, model).owner_id)
    check_quota(session, owner_id, quota, is_locked=True)
    row = get_row_to_change(session, viewer, model)
    newest = _newest(session, row)
    is_new = newest is None or newest.sha256 != new.sha256
    if is_new:
        check_quota(session, owner_id, quota, new_bytes=new.size_bytes)
        version = insert_version(session, row, new, created_by=viewer.user_id)
    else:
        assert newest is not None
        version = newest
    if is_promoted:
        move_alias(session, row, PRODUCTION, version.number)
    elif is_new:
        touch(session, row)
    return UploadRecord(
        model=model_record(session, row), version=version_record(version), is_new=is_new
    )


def insert_version(
    session: Session, row: Model, new: NewVersion, *, created_by: str
) -> ModelVersion:
    """Insert the next version of a locked model; the caller announces it."""
    row.latest_version += 1
    version = ModelVersion(
        model_id=row.id,
        number=row.latest_version,
        sha256=new.sha256,
        size_bytes=new.size_bytes,
        format=new.format,
        signature=new.signature,
        report=new.report,
        examples=new.examples,
        created_by=uuid.UUID(created_by),
    )
    session.add(version)
    session.flush()
    return version


def find_version_by_sha(
    session: Session, viewer: Viewer, model: str, sha256: str
) -> VersionRecord | None:
    """The newest version of a model, if these are its bytes; ``None`` also for an unknown model."""
    row = find_row(session, viewer, model)
    newest = None if row is None else _newest(session, row)
    return version_record(newest) if newest is not None and newest.sha256 == sha256 else None


def list_versions(
    session: Session, viewer: Viewer, model: str, *, limit: int, offset: int
) -> Page[VersionSummary]:
    """
    One page of a model's versions, newest first; three statements.

    Raises:
        ModelNotFound: If the caller may not see the model.
    """
    row = get_row(session, viewer, model)
    of_model = (ModelVersion.model_id == row.id, ModelVersion.deleted_at.is_(None))
    total = session.scalar(select(func.count()).select_from(ModelVersion).where(*of_model))
    statement = (
        select(*SUMMARY)
        .where(*of_model)
        .order_by(ModelVersion.number.desc())
        .limit(limit)
        .offset(offset)
    )
    items = tuple(version_summary(found) for found in session.execute(statement))
    return Page(items=items, total=total or 0, limit=limit, offset=offset)


def get_version(
    session: Session, viewer: Viewer, model: str, version: str | int | None = None
) -> VersionRecord:
    """
    A version by number or alias; none means ``production``.

    Raises:
        ModelNotFound: If there is no such model or version for the caller.
    """
    row = get_row(session, viewer, model)
    return version_record(_named_version(session, row, PRODUCTION if version is None else version))


def delete_version(
    session: Session, viewer: Viewer, model: str, version: str | int
) -> VersionRecord:
    """
    Mark a version deleted; its number is never used again.

    Raises:
        ModelNotFound, NotPermitted: As for any change.
        ModelConflict: While an alias names it.
    """
    row = get_row_to_change(session, viewer, model)
    target = _named_version(session, row, version)
    statement = select(ModelAlias.alias).where(
        ModelAlias.model_id == row.id, ModelAlias.version == target.number
    )
    names = sorted(session.scalars(statement))
    if names:
        raise ModelConflict(
            f"version {target.number} of model {row.name!r} is named by {', '.join(names)}: move or"
            " delete the alias first",
            model=str(row.id),
        )
    target.deleted_at = now(session)
    touch(session, row)
    return version_record(target)


def release_version(
    session: Session, viewer: Viewer, model: str, version: str | int
) -> VersionRecord:
    """
    Take a version out of quarantine; one that is ready stays so.

    Raises:
        ModelNotFound, NotPermitted: As for any change.
    """
    row = get_row_to_change(session, viewer, model)
    target = _named_version(session, row, version)
    # Charges of before do not count against a version that was looked at and let go.
    session.execute(
        delete(DeathCharge).where(
            DeathCharge.model_id == row.id, DeathCharge.version == target.number
        )
    )
    return _set_status(session, row, target, "ready")


def quarantine_version(session: Session, model_id: str, number: int) -> bool:
    """
    Hold a version back after it crashed a replica; the platform's own doing, not a caller's.

    Returns:
        True if it was ready until now; False if it was held back already or is gone.
    """
    row = session.scalar(
        select(Model)
        .where(Model.id == uuid.UUID(model_id), Model.deleted_at.is_(None))
        .with_for_update(key_share=True)
    )
    if row is None:
        return False
    try:
        target = get_version_row(session, row, number)
    except ModelNotFound:
        return False
    if target.status == "quarantined":
        return False
    _set_status(session, row, target, "quarantined")
    return True


def _set_status(session: Session, row: Model, target: ModelVersion, status: str) -> VersionRecord:
    if target.status != status:
        target.status = status
        session.flush()
        touch(session, row)
    return version_record(target)


def _named_version(session: Session, row: Model, version: str | int) -> ModelVersion:
    number = find_version_number(version)
    if number is None:
        number = get_alias_target(session, row, str(version))
    return get_version_row(session, row, min(number, MAX_VERSION))


def _newest(session: Session, row: Model) -> ModelVersion | None:
    return session.scalar(
        select(ModelVersion)
        .where(ModelVersion.model_id == row.id, ModelVersion.deleted_at.is_(None))
        .order_by(ModelVersion.number.desc())
        .limit(1)
    )

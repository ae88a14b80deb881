"""Aliases: movable names for versions; a move is one atomic statement under the model's lock."""

from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from cluster.errors import ModelConflict, ModelNotFound
from serve_app.registry.assembly import alias_record
from serve_app.registry.database import record_change
from serve_app.registry.names import PRODUCTION, check_alias
from serve_app.registry.records import AliasRecord
from serve_app.registry.tables import Model, ModelAlias, ModelVersion
from serve_app.registry.visibility import Viewer, get_row, get_row_to_change


def list_aliases(session: Session, viewer: Viewer, model: str) -> tuple[AliasRecord, ...]:
    """
    All aliases of a model, by name; two statements.

    Raises:
        ModelNotFound: If the caller may not see the model.
    """
    row = get_row(session, viewer, model)
    statement = select(ModelAlias).where(ModelAlias.model_id == row.id).order_by(ModelAlias.alias)
    return tuple(alias_record(alias) for alias in session.scalars(statement))


def set_alias(
    session: Session,
    viewer: Viewer,
    model: str,
    alias: str,
    version: int,
    *,
    expected: int | None = None,
) -> AliasRecord:
    """
    Point an alias at a version, making the alias if need be.

    Args:
        session: Of a ``Database.write``.
        viewer: Who asks.
        model: Name or id.
        alias: Name of the alias.
        version: Number of a version that is ready.
        expected: The version it must name now, so that two promotions do not overwrite each other
            unseen; none moves it from wherever it is.

    Raises:
        InvalidInput: If the alias is not a good name.
        ModelNotFound: If the model or the version does not exist for the caller.
        ModelConflict: If the version is quarantined, or the alias names another than ``expected``.
    """
    check_alias(alias)
    row = get_row_to_change(session, viewer, model)
    target = get_version_row(session, row, version)
    if target.status != "ready":
        raise ModelConflict(
            f"version {version} of model {row.name!r} is quarantined: release it first",
            model=str(row.id),
        )
    current = session.get(ModelAlias, (row.id, alias), populate_existing=True)
    named = None if current is None else current.version
    if expected is not None and named != expected:
        raise ModelConflict(
            f"alias {alias!r} names version {named}, not {expected}: read it again, then decide",
            model=str(row.id),
        )
    return move_alias(session, row, alias, version)


def delete_alias(session: Session, viewer: Viewer, model: str, alias: str) -> AliasRecord:
    """
    Remove an alias; what it named is returned.

    Raises:
        ModelNotFound: If the model or the alias does not exist for the caller.
    """
    row = get_row_to_change(session, viewer, model)
    record = alias_record(_get_alias_row(session, row, alias))
    session.execute(
        delete(ModelAlias).where(ModelAlias.model_id == row.id, ModelAlias.alias == alias)
    )
    touch(session, row)
    return record


def move_alias(session: Session, row: Model, alias: str, version: int) -> AliasRecord:
    """Point an alias of a locked model at a version that was checked."""
    current = session.get(ModelAlias, (row.id, alias))
    if current is None:
        current = ModelAlias(model_id=row.id, alias=alias, version=version)
        session.add(current)
    elif current.version != version:
        current.previous_version, current.version = current.version, version
        current.updated_at = now(session)
    session.flush()
    touch(session, row)
    return alias_record(current)


def touch(session: Session, row: Model) -> None:
    """Announce a change of a model, and let its status follow its production version."""
    named = select(ModelAlias.version).where(
        ModelAlias.model_id == row.id, ModelAlias.alias == PRODUCTION
    )
    status = session.scalar(
        select(ModelVersion.status).where(
            ModelVersion.model_id == row.id, ModelVersion.number == named.scalar_subquery()
        )
    )
    row.status = status or "ready"
    row.updated_at = now(session)
    session.flush()
    record_change(session, "model", row.id)


def now(session: Session) -> datetime:
    """The server's time at the start of this transaction."""
    return session.execute(select(func.now())).scalar_one()


def get_version_row(session: Session, row: Model, number: int) -> ModelVersion:
    """
    A version of a model by number.

    Raises:
        ModelNotFound: If there is none, or it was deleted.
    """
    version = _find_version_row(session, row, number)
    if version is None:
        raise ModelNotFound(
            f"model {row.name!r} has no version {number}: its newest is {row.latest_version}",
            model=str(row.id),
            version=number,
        )
    return version


def get_alias_target(session: Session, row: Model, alias: str) -> int:
    """
    The number that an alias names.

    Raises:
        ModelNotFound: If the model has no such alias.
    """
    return _get_alias_row(session, row, alias).version


def _find_version_row(session: Session, row: Model, number: int) -> ModelVersion | None:
    return session.scalar(
        select(ModelVersion).where(
            ModelVersion.model_id == row.id,
            ModelVersion.number == number,
            ModelVersion.deleted_at.is_(None),
        )
    )


def _get_alias_row(session: Session, row: Model, alias: str) -> ModelAlias:
    current = session.get(ModelAlias, (row.id, alias), populate_existing=True)
    if current is None:
        raise ModelNotFound(
            f"model {row.name!r} has no version or alias {alias[:64]!r}",
            model=str(row.id),
            alias=alias[:64],
        )
    return current

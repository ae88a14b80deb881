"""The audit trail: one row for each thing done, written in the transaction that does it."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, func, insert, select
from sqlalchemy.orm import Session

from cluster.contracts import JsonObject
from serve_app.registry.database import Database
from serve_app.registry.records import Page
from serve_app.registry.tables import AuditEvent

#: Events read in one transaction of an export.
EXPORT_BATCH = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditRecord:
    """Who did what to which thing, from where."""

    id: int
    at: datetime
    actor_id: str | None
    actor: str
    action: str
    target_type: str
    target_id: str
    address: str | None
    request_id: str | None
    details: JsonObject


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditFilter:
    """Which events are meant; what is None does not narrow."""

    #: E-mail as it was at the time, or the id of the account.
    actor: str | None = None
    #: Exactly, or a noun for all of its verbs: ``model`` means ``model.*``.
    action: str | None = None
    target_type: str | None = None
    target_id: str | None = None
    #: Inclusive.
    since: datetime | None = None
    #: Exclusive.
    until: datetime | None = None


def record(
    session: Session,
    *,
    actor: str,
    action: str,
    target_type: str,
    target_id: object,
    actor_id: str | None = None,
    address: str | None = None,
    request_id: str | None = None,
    details: JsonObject | None = None,
) -> None:
    """
    Write one event; it is kept if and only if the transaction commits.

    Args:
        session: Of a ``Database.write``.
        actor: E-mail, "cli" or "anonymous".
        action: Noun and verb: model.upload, alias.move, key.revoke, upload.refused…
        target_type: model, version, alias, key, user…
        target_id: Id or name of the thing.
        actor_id: Id of the account, where there is one.
        address: Where the request came from.
        request_id: Of the request.
        details: JSON-safe; never a secret.
    """
    session.execute(
        insert(AuditEvent).values(
            actor_id=None if actor_id is None else uuid.UUID(actor_id),
            actor=_clean(actor)[:254],
            action=action,
            target_type=target_type,
            target_id=_clean(str(target_id))[:128],
            address=None if address is None else _clean(address)[:64],
            request_id=None if request_id is None else _clean(request_id)[:128],
            details=_clean_json(details or {}),
        )
    )


def list_events(
    session: Session, wanted: AuditFilter, *, limit: int, offset: int
) -> Page[AuditRecord]:
    """One page of events, newest first; two statements."""
    conditions = _conditions(wanted)
    total = session.scalar(select(func.count()).select_from(AuditEvent).where(*conditions))
    statement = (
        select(AuditEvent)
        .where(*conditions)
        .order_by(AuditEvent.id.desc())
        .limit(limit)
        .offset(offset)
    )
    items = tuple(_record(row) for row in session.scalars(statement))
    return Page(items=items, total=total or 0, limit=limit, offset=offset)


async def export_events(database: Database, wanted: AuditFilter) -> AsyncIterator[bytes]:
    """
    Every event as one line of JSON each, oldest first, however many there are.

    Raises:
        RegistryUnavailable: Also halfway: then the lines so far are complete ones.
    """
    last = 0
    while True:
        batch = await database.read(
            lambda session, after=last: _after(session, wanted, after)  # type: ignore[misc]
        )
        for event in batch:
            yield orjson.dumps(asdict(event), option=orjson.OPT_UTC_Z) + b"\n"
        if len(batch) < EXPORT_BATCH:
            return
        last = batch[-1].id


def _after(session: Session, wanted: AuditFilter, last: int) -> list[AuditRecord]:
    statement = (
        select(AuditEvent)
        .where(*_conditions(wanted), AuditEvent.id > last)
        .order_by(AuditEvent.id)
        .limit(EXPORT_BATCH)
    )
    return [_record(row) for row in session.scalars(statement)]


def _conditions(wanted: AuditFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.actor is not None:
        conditions.append(_acted(wanted.actor))
    if wanted.action is not None:
        column = AuditEvent.action
        is_exact = "." in wanted.action
        conditions.append(
            column == wanted.action
            if is_exact
            else column.startswith(f"{wanted.action}.", autoescape=True)
        )
    if wanted.target_type is not None:
        conditions.append(AuditEvent.target_type == wanted.target_type)
    if wanted.target_id is not None:
        conditions.append(AuditEvent.target_id == wanted.target_id)
    if wanted.since is not None:
        conditions.append(AuditEvent.at >= wanted.since)
    if wanted.until is not None:
        conditions.append(AuditEvent.at < wanted.until)
    return conditions


def _acted(actor: str) -> ColumnElement[bool]:
    try:
        return AuditEvent.actor_id == uuid.UUID(actor)
    except ValueError:
        return AuditEvent.actor == actor


def _record(row: AuditEvent) -> AuditRecord:
    return AuditRecord(
        id=row.id,
        at=row.at,
        actor_id=None if row.actor_id is None else str(row.actor_id),
        actor=row.actor,
        action=row.action,
        target_type=row.target_type,
        target_id=row.target_id,
        address=row.address,
        request_id=row.request_id,
        details=row.details,
    )


def _clean(value: str) -> str:
    # PostgreSQL stores neither; a hostile name must not keep its refusal from being recorded.
    return value.encode("utf-8", "replace").decode("utf-8").replace("\x00", "�")


def _clean_json(value: Any) -> Any:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, dict):
        return {_clean(str(name)): _clean_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean_json(item) for item in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value

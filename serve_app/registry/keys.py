"""API keys in the registry: made, listed, revoked, and looked up together with their owner."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cluster.errors import Conflict, Fault, InvalidInput, NotFound, QuotaExceeded
from serve_app.registry.database import record_change
from serve_app.registry.names import find_id
from serve_app.registry.tables import ApiKey, Model, User


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyRecord:
    """A key as its owner sees it; the key itself is known to nobody."""

    id: str
    user_id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    models: tuple[str, ...] | None
    rate_limit: int | None
    expires_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class KeySpec:
    """What a new key shall be."""

    name: str
    scopes: tuple[str, ...]
    models: tuple[str, ...] | None = None
    rate_limit: int | None = None
    expires_at: datetime | None = None


def create_key(
    session: Session,
    user_id: str,
    spec: KeySpec,
    *,
    prefix: str,
    key_sha256: bytes,
    max_keys: int | None = None,
) -> KeyRecord:
    """
    A new key of this user.

    Raises:
        Conflict: If the user has a live key of that name.
        QuotaExceeded: If the user holds ``max_keys`` already; expired ones do not count.
    """
    owner = uuid.UUID(user_id)
    # The owner's row serialises their creations, so that the quota holds under concurrency.
    session.execute(select(User.id).where(User.id == owner).with_for_update())
    _check_quota(session, owner, max_keys)
    statement = (
        insert(ApiKey)
        .values(
            id=uuid.uuid4(),
            user_id=owner,
            name=spec.name,
            prefix=prefix,
            key_sha256=key_sha256,
            scopes=list(spec.scopes),
            models=None if spec.models is None else list(spec.models),
            rate_limit=spec.rate_limit,
            expires_at=spec.expires_at,
        )
        .on_conflict_do_nothing(
            index_elements=[ApiKey.user_id, ApiKey.name], index_where=ApiKey.revoked_at.is_(None)
        )
        .returning(ApiKey)
    )
    key = session.scalars(statement).one_or_none()
    if key is None:
        raise Conflict(
            f"you have a key named {spec.name!r}: choose another name, or revoke that one",
            code="key_name_taken",
        )
    record_change(session, "key", key.id)
    return key_record(key)


def list_keys(
    session: Session, user_id: str, *, limit: int, offset: int
) -> tuple[list[KeyRecord], int]:
    """One page of the user's live keys, oldest first, and how many there are in all."""
    live = select(ApiKey).where(ApiKey.user_id == _uuid(user_id), ApiKey.revoked_at.is_(None))
    total = session.scalar(select(func.count()).select_from(live.subquery())) or 0
    page = live.order_by(ApiKey.created_at, ApiKey.id).limit(limit).offset(offset)
    return [key_record(key) for key in session.scalars(page)], total


def get_key(session: Session, key_id: str, *, owner_id: str | None) -> KeyRecord:
    """
    A live key; of ``owner_id`` unless that is ``None`` (an administrator asks).

    Raises:
        NotFound: If there is none that the caller may see.
    """
    return key_record(get_key_row(session, key_id, owner_id))


def revoke_key(session: Session, key_id: str, *, owner_id: str | None) -> KeyRecord:
    """
    The key that was revoked; of ``owner_id`` unless that is ``None``.

    Raises:
        NotFound: If there is no live one that the caller may see.
    """
    key = get_key_row(session, key_id, owner_id)
    key.revoked_at = func.now()
    record_change(session, "key", key.id)
    return key_record(key)


def revoke_all_keys(session: Session) -> int:
    """Revoke every key, as a restore with ``--revoke-keys`` does; returns how many."""
    live = update(ApiKey).where(ApiKey.revoked_at.is_(None)).values(revoked_at=func.now())
    ids = session.scalars(
        live.returning(ApiKey.id), execution_options={"synchronize_session": False}
    ).all()
    for key_id in ids:
        record_change(session, "key", key_id)
    return len(ids)


def touch_keys(session: Session, key_ids: Iterable[str], *, at: datetime) -> None:
    """Note a use, never backwards; not a change anybody must hear of."""
    ids = [uuid.UUID(key_id) for key_id in key_ids]
    is_older = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < at)
    statement = update(ApiKey).where(ApiKey.id.in_(ids), is_older).values(last_used_at=at)
    session.execute(statement, execution_options={"synchronize_session": False})


def resolve_models(session: Session, user_id: str, named: Sequence[str]) -> tuple[str, ...]:
    """
    Model ids for names of the user's own models; ids pass unchanged, since a tie only narrows.

    Raises:
        InvalidInput: Naming those that the user does not have.
    """
    ids = {name: str(found) for name in named if (found := find_id(name)) is not None}
    names = [name for name in named if name not in ids]
    own = select(Model.name, Model.id).where(
        Model.owner_id == _uuid(user_id), Model.deleted_at.is_(None), Model.name.in_(names)
    )
    ids.update({name: str(model_id) for name, model_id in session.execute(own)})
    faults = tuple(
        Fault(path=f"/models/{index}", code="model_not_found", message=f"no model {name!r}")
        for index, name in enumerate(named)
        if name not in ids
    )
    if faults:
        raise InvalidInput(f"you have {faults[0].message}: check its name", details=faults)
    return tuple(dict.fromkeys(ids[name] for name in named))


def _check_quota(session: Session, owner: uuid.UUID, max_keys: int | None) -> None:
    if max_keys is None:
        return
    live = select(func.count()).select_from(ApiKey)
    live = live.where(ApiKey.user_id == owner, ApiKey.revoked_at.is_(None), is_unexpired())
    if (session.scalar(live) or 0) >= max_keys:
        raise QuotaExceeded(
            f"you hold {max_keys} API keys, the most allowed: revoke one first", limit=max_keys
        )


def get_key_row(session: Session, key_id: str, owner_id: str | None) -> ApiKey:
    """The row of a live key, locked; as for ``get_key``."""
    statement = select(ApiKey).where(ApiKey.id == _uuid(key_id), ApiKey.revoked_at.is_(None))
    if owner_id is not None:
        statement = statement.where(ApiKey.user_id == uuid.UUID(owner_id))
    key = session.scalars(statement.with_for_update()).one_or_none()
    if key is None:
        raise NotFound(f"no API key {key_id!r}", key=key_id)
    return key


def is_unexpired() -> ColumnElement[bool]:
    """Condition on ``api_keys`` rows: they have no end, or it is still to come."""
    return or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now())


def _uuid(text: str) -> uuid.UUID:
    # The nil id is nobody's: an id that is not one finds nothing.
    return find_id(text) or uuid.UUID(int=0)


def key_record(key: ApiKey) -> KeyRecord:
    """What the registry gives out of a row."""
    return KeyRecord(
        id=str(key.id),
        user_id=str(key.user_id),
        name=key.name,
        prefix=key.prefix,
        scopes=tuple(key.scopes),
        models=None if key.models is None else tuple(key.models),
        rate_limit=key.rate_limit,
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        created_at=key.created_at,
    )

"""Replaces an API key by a new one that may do the same; the old one holds a little longer."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cluster.errors import Conflict
from serve_app.registry.database import record_change
from serve_app.registry.keys import KeyRecord, KeySpec, create_key, get_key_row, key_record
from serve_app.registry.tables import ApiKey

#: Appended to the old key's name, which the new one takes over.
_RETIRED = " (replaced {prefix})"
_NAME_LENGTH_MAX = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class RotatedKeys:
    """Both keys after a rotation."""

    new: KeyRecord
    #: Holds until its ``expires_at``.
    old: KeyRecord


def rotate_key(
    session: Session,
    key_id: str,
    *,
    owner_id: str | None,
    overlap: timedelta,
    prefix: str,
    key_sha256: bytes,
    rate_limit: int | None,
    max_keys: int | None = None,
) -> RotatedKeys:
    """
    A new key with the name, scopes, models and end of the old one, which ends after ``overlap``.

    Args:
        session: Of a ``Database.write``.
        key_id: The key to replace.
        owner_id: Whose it is; ``None`` where an operator asks.
        overlap: How long both hold; none ends the old one at once.
        prefix: Of the new key's text.
        key_sha256: Of the new key's text.
        rate_limit: The new key's own, requests a minute.
        max_keys: The user's quota; keys in their overlap count half.

    Raises:
        NotFound: If there is no live key that the caller may see.
        Conflict: If it has expired: there is nothing to go on using.
        QuotaExceeded: If the user holds twice ``max_keys``, as only rotations make.
    """
    old = get_key_row(session, key_id, owner_id)
    now: datetime = session.execute(select(func.now())).scalar_one()
    if old.expires_at is not None and old.expires_at <= now:
        raise Conflict(f"the key {old.name!r} has expired: make a new one", code="key_expired")
    spec = KeySpec(
        name=old.name,
        scopes=tuple(old.scopes),
        models=None if old.models is None else tuple(old.models),
        rate_limit=rate_limit,
        expires_at=old.expires_at,
    )
    _retire(old, now, overlap)
    session.flush()
    record_change(session, "key", old.id)
    most = None if max_keys is None else 2 * max_keys
    new = create_key(
        session, str(old.user_id), spec, prefix=prefix, key_sha256=key_sha256, max_keys=most
    )
    return RotatedKeys(new=new, old=key_record(old))


def _retire(old: ApiKey, now: datetime, overlap: timedelta) -> None:
    ends_at = now + overlap
    old.expires_at = ends_at if old.expires_at is None else min(old.expires_at, ends_at)
    if not overlap:
        old.revoked_at = now
        return
    # No two keys have one prefix, so that two rotations of one name never meet.
    suffix = _RETIRED.format(prefix=old.prefix)
    old.name = old.name[: _NAME_LENGTH_MAX - len(suffix)] + suffix

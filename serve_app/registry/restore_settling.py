"""What a restored registry must forget before its first use: sessions, replicas, sequences."""

import time

from sqlalchemy import Connection, delete, func, select, text, update
from sqlalchemy.orm import Session

from cluster.contracts import JsonObject
from serve_app.registry import audit
from serve_app.registry.keys import revoke_all_keys
from serve_app.registry.tables import Follower, IdempotencyKey, RefreshFamily, User
from serve_app.registry.transactions import run_write

_ADVANCE = text(
    "SELECT setval(pg_get_serial_sequence('changes', 'sequence'),"
    " greatest(:floor, (SELECT coalesce(max(sequence), 0) + 1 FROM changes)))"
)


def settle(connection: Connection, *, revoke_keys: bool, details: JsonObject) -> tuple[int, int]:
    """
    End every session and, if asked, every key of the database; both are counted.

    Sequences of changes go on from the clock's milliseconds: higher than any that the lost days
    may have used, so that nothing cached under one of those is found again.
    """
    with Session(connection) as session:
        written = run_write(
            session, lambda open_session: _settle(open_session, revoke_keys, details)
        )
    return written.value


def _settle(session: Session, revoke_keys: bool, details: JsonObject) -> tuple[int, int]:  # noqa: FBT001 - private
    session.execute(_ADVANCE, {"floor": time.time_ns() // 1_000_000})
    live = RefreshFamily.revoked_at.is_(None)
    sessions = session.scalar(select(func.count()).select_from(RefreshFamily).where(live)) or 0
    quiet = {"synchronize_session": False}
    session.execute(
        update(RefreshFamily).where(live).values(revoked_at=func.now()), execution_options=quiet
    )
    raised = update(User).values(session_epoch=User.session_epoch + 1)
    session.execute(raised, execution_options=quiet)
    session.execute(delete(Follower), execution_options=quiet)
    # Requests that ran when the snapshot was taken: nobody will ever answer them.
    unanswered = delete(IdempotencyKey).where(IdempotencyKey.status.is_(None))
    session.execute(unanswered, execution_options=quiet)
    keys = revoke_all_keys(session) if revoke_keys else 0
    audit.record(
        session,
        actor="cli",
        action="backup.restore",
        target_type="backup",
        target_id=details["backup"],
        details=details | {"sessions_ended": sessions, "keys_revoked": keys},
    )
    return sessions, keys

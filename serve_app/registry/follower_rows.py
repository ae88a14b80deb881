"""The statements of a follower: read what is new, say how far it got, see how far others are."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from serve_app.registry.tables import Change, Follower

#: Changes applied in one step; more are read at the next one.
BATCH = 1000
#: A new follower starts this far back: its caches may have been filled shortly before.
OVERLAP = timedelta(minutes=5)
#: One statement and no mapping, since every replica runs it twice a second for good.  A lost
#: heartbeat costs nothing, so its commit need not wait for the disk.
_POLL = text(
    "WITH lazily AS (SELECT set_config('synchronous_commit', 'off', true)),"
    " said AS (INSERT INTO followers (replica_id, applied_sequence, seen_at)"
    " VALUES (:replica_id, :applied, clock_timestamp())"
    " ON CONFLICT (replica_id) DO UPDATE SET"
    " applied_sequence = excluded.applied_sequence, seen_at = excluded.seen_at)"
    " SELECT news.sequence, news.kind, news.subject, known.newest"
    " FROM lazily CROSS JOIN (SELECT coalesce(max(sequence), 0) AS newest FROM changes) AS known"
    " LEFT JOIN LATERAL (SELECT sequence, kind, subject FROM changes WHERE sequence > :applied"
    " ORDER BY sequence LIMIT :limit) AS news ON true ORDER BY news.sequence"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Poll:
    """What one read found."""

    #: (kind, subject) in the order of the sequence.
    changes: tuple[tuple[str, str], ...]
    #: The sequence up to which that is everything.
    sequence: int
    #: True where changes in between cannot be known: pruned, or the database was restored.
    is_broken: bool = False


def poll(
    session: Session, replica_id: str, applied: int | None, *, is_only_saying: bool = False
) -> Poll:
    """
    Say that ``replica_id`` has applied ``applied``, and read what comes after.

    Args:
        session: Of a ``Database.write``.
        replica_id: Whose row to write.
        applied: The last applied sequence; none before the first read.
        is_only_saying: Reads nothing.
    """
    if applied is None:
        applied = _starting_point(session)
    said = {"replica_id": replica_id, "applied": applied}
    limit = 0 if is_only_saying else BATCH
    rows = session.execute(_POLL, said | {"limit": limit}).all()
    changes = [row for row in rows if row.sequence is not None]
    if changes:
        return Poll(
            changes=tuple((row.kind, row.subject) for row in changes),
            sequence=changes[-1].sequence,
        )
    newest = 0 if is_only_saying else rows[0].newest
    # An older newest than ours: the database was restored under us.
    is_broken = 0 < newest < applied
    return Poll(changes=(), sequence=newest if is_broken else applied, is_broken=is_broken)


def slowest_applied(session: Session, live_s: float) -> int | None:
    """What every follower seen within ``live_s`` seconds has applied; None if there is none."""
    return session.scalar(
        select(func.min(Follower.applied_sequence)).where(
            Follower.seen_at > func.clock_timestamp() - timedelta(seconds=live_s)
        )
    )


def depart(session: Session, replica_id: str) -> None:
    """Forget a follower that stops."""
    session.execute(delete(Follower).where(Follower.replica_id == replica_id))


def _starting_point(session: Session) -> int:
    recent = select(func.min(Change.sequence)).where(Change.at > func.now() - OVERLAP)
    first = session.scalar(recent)
    return first - 1 if first is not None else _newest(session)


def _newest(session: Session) -> int:
    return session.scalar(select(func.max(Change.sequence))) or 0

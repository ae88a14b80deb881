"""The statements of a follower: read what is new, say how far it got, see how far others are."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from serve_app.registry.tables import Change, Follower

#: Changes applied in one step; more are read at the next one.
BATCH = 1000
#: A new follower starts this far back: its caches may have been filled shortly before.
OVERLAP = timedelta(minutes=5)


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
    # A lost heartbeat costs nothing, so its commit need not wait for the disk.
    session.execute(text("SET LOCAL synchronous_commit = off"))
    if applied is None:
        applied = _starting_point(session)
    _say(session, replica_id, applied)
    if is_only_saying:
        return Poll(changes=(), sequence=applied)
    statement = (
        select(Change.sequence, Change.kind, Change.subject)
        .where(Change.sequence > applied)
        .order_by(Change.sequence)
        .limit(BATCH)
    )
    rows = session.execute(statement).all()
    if rows:
        return Poll(
            changes=tuple((row.kind, row.subject) for row in rows), sequence=rows[-1].sequence
        )
    return _quiet(session, applied)


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


def _say(session: Session, replica_id: str, applied: int) -> None:
    row = insert(Follower).values(
        replica_id=replica_id, applied_sequence=applied, seen_at=func.clock_timestamp()
    )
    session.execute(
        row.on_conflict_do_update(
            index_elements=[Follower.replica_id],
            set_={"applied_sequence": applied, "seen_at": func.clock_timestamp()},
        )
    )


def _starting_point(session: Session) -> int:
    recent = select(func.min(Change.sequence)).where(Change.at > func.now() - OVERLAP)
    first = session.scalar(recent)
    return first - 1 if first is not None else _newest(session)


def _quiet(session: Session, applied: int) -> Poll:
    # An older newest than ours: the database was restored under us.
    newest = _newest(session)
    if newest < applied and newest > 0:
        return Poll(changes=(), sequence=newest, is_broken=True)
    return Poll(changes=(), sequence=applied)


def _newest(session: Session) -> int:
    return session.scalar(select(func.max(Change.sequence))) or 0

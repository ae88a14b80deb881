"""
One transaction each way: reading, or writing with the changes that it announces.

A change is numbered as the last thing of its transaction, so the sequence is also the order in
which commits became visible.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from serve_app.registry.tables import Change

T = TypeVar("T")
#: Key of the advisory lock under which changes are numbered; any constant that is ours.
CHANGES_LOCK = 0x736C6970_0001


@dataclass(frozen=True, kw_only=True, slots=True)
class Written(Generic[T]):
    """What a write returned, and the sequence to settle on; ``None`` if it announced nothing."""

    value: T
    sequence: int | None


def record_change(session: Session, kind: str, subject: object) -> None:
    """
    Announce, with this transaction's commit, that something changed; once each.

    Args:
        session: The session of a ``Database.write``.
        kind: model, user, key or limits.
        subject: Id of what changed.
    """
    session.info.setdefault("changes", {})[kind, str(subject)] = None


def run_read(session: Session, work: Callable[[Session], T]) -> T:
    """What ``work`` returns, in a transaction that refuses to write."""
    session.connection(execution_options={"postgresql_readonly": True})
    return work(session)


def run_write(session: Session, work: Callable[[Session], T]) -> Written[T]:
    """What ``work`` returns, committed together with the changes it recorded."""
    value = work(session)
    sequence = _announce(session)
    session.commit()
    return Written(value=value, sequence=sequence)


def _announce(session: Session) -> int | None:
    changes = session.info.get("changes")
    if not changes:
        return None
    session.flush()
    # Numbered under a lock that the commit releases: sequences become visible in their order, so
    # a follower that has seen one has seen all before it.
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": CHANGES_LOCK})
    rows = [{"kind": kind, "subject": subject} for kind, subject in changes]
    return max(session.scalars(insert(Change).returning(Change.sequence), rows))

"""
The door to PostgreSQL: one transaction a call, in a bounded pool of threads off the event loop.

A write announces what it changed in the ``changes`` sequence; a dead server is answered for at
once by a circuit breaker.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from sqlalchemy import exc, insert, text
from sqlalchemy.orm import Session

from cluster.errors import InsecureSettings, Overloaded
from cluster.settings import Settings
from serve_app.registry.circuit import Circuit
from serve_app.registry.connections import Connections, PoolLimits
from serve_app.registry.refusals import describe, is_connection_failure, translate, unavailable
from serve_app.registry.tables import Change

#: ``Session`` is what work is given; SQLAlchemy itself is imported in this package alone.
__all__ = ["Database", "Session", "Written", "record_change"]
#: ``Session`` too: what is above the registry names it in signatures and knows no SQLAlchemy.
__all__ = ["Database", "Session", "Written", "record_change"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

#: Key of the advisory lock under which changes are numbered; any constant that is ours.
CHANGES_LOCK = 0x736C6970_0001
#: Seconds after which a caller is told that the registry does not answer; above the server's own
#: statement timeout, so that it fires only when the server itself is stuck.
ANSWER_TIMEOUT_S = 15.0
#: Calls that may wait for a thread, for each thread.
WAITING_PER_THREAD = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Written(Generic[T]):
    """What a write returned, and the sequence to settle on; ``None`` if it announced nothing."""

    value: T
    sequence: int | None


@dataclass(slots=True)
class _Started:
    """Set by the thread once the work has its connection, so that queueing is not a fault."""

    value: bool = False


def record_change(session: Session, kind: str, subject: object) -> None:
    """
    Announce, with this transaction's commit, that something changed; once each.

    Args:
        session: The session of a ``Database.write``.
        kind: model, user, key or limits.
        subject: Id of what changed.
    """
    session.info.setdefault("changes", {})[kind, str(subject)] = None


class Database:
    """PostgreSQL as one process uses it; construction opens nothing."""

    def __init__(
        self,
        connections: Connections,
        *,
        threads: int,
        circuit: Circuit | None = None,
    ) -> None:
        self._connections = connections
        self._circuit = circuit or Circuit()
        self._threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="registry")
        self._pending = 0

    @classmethod
    def from_settings(
        cls, settings: Settings, *, application_name: str, replicas: int | None = None
    ) -> Self:
        """
        The database that the settings name.

        Args:
            settings: With ``database_url`` and the pool's figures.
            application_name: How the server's own views name this process.
            replicas: Processes that share the server; none means ``settings.workers``.

        Raises:
            InsecureSettings: If there is no DATABASE_URL.
        """
        if settings.database_url is None:
            raise InsecureSettings(
                "DATABASE_URL is not set: set it, or run `slipway services start` for the embedded"
                " server"
            )
        limits = PoolLimits(
            size=settings.database_pool_size,
            overflow=settings.database_max_overflow,
            timeout_s=settings.database_pool_timeout_s,
            recycle_s=settings.database_pool_recycle_s,
            replicas=replicas or settings.workers,
        )
        return cls.from_url(
            settings.database_url.get_secret_value(), limits, application_name=application_name
        )

    @classmethod
    def from_url(
        cls, url: str, limits: PoolLimits | None = None, *, application_name: str = "slipway"
    ) -> Self:
        """The database behind one URL (``postgresql+psycopg2://…``)."""
        limits = limits or PoolLimits(size=5, overflow=5)
        connections = Connections(url, limits, application_name=application_name)
        return cls(connections, threads=limits.size + limits.overflow)

    @property
    def is_available(self) -> bool:
        """False between a connection failure and the next success."""
        return self._circuit.is_closed

    async def read(self, work: Callable[[Session], T], *, timeout_s: float = ANSWER_TIMEOUT_S) -> T:
        """
        What ``work`` returns, run in one read-only transaction in a pool thread.

        Raises:
            RegistryUnavailable: If PostgreSQL is away, stuck or out of connections.
        """
        return await self._call(lambda session: _read(session, work), timeout_s)

    async def write(
        self, work: Callable[[Session], T], *, timeout_s: float = ANSWER_TIMEOUT_S
    ) -> Written[T]:
        """
        What ``work`` returns, committed, and the sequence of its changes.

        Raises:
            RegistryUnavailable: As for ``read``; after a timeout the write may still be made.
            Conflict: If a constraint refused it and ``work`` did not say so itself.
        """
        return await self._call(lambda session: _write(session, work), timeout_s)

    async def ping(self) -> float:
        """Milliseconds of one round trip, thread hop included; raises as ``read`` does."""
        started = time.perf_counter()
        await self.read(lambda session: session.execute(text("SELECT 1")).scalar_one())
        return (time.perf_counter() - started) * 1000

    async def close(self) -> None:
        """Close the connections; calls in flight finish first."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._connections.discard()

    async def _call(self, work: Callable[[Session], T], timeout_s: float) -> T:
        if self._circuit.is_open:
            self._refuse()
        if self._pending >= self._threads * WAITING_PER_THREAD:
            raise Overloaded("too many requests wait for the registry: try again", retry_after_s=1)
        self._pending += 1
        started = _Started()
        future = asyncio.get_running_loop().run_in_executor(
            self._executor, self._guarded, work, started
        )
        future.add_done_callback(self._on_done)
        done, _ = await asyncio.wait({future}, timeout=timeout_s)
        if done:
            return future.result()
        if started.value:
            self._give_up()
        raise unavailable("the registry does not answer now: try again", reason="timeout")

    def _on_done(self, future: "asyncio.Future[T]") -> None:
        self._pending -= 1
        if not future.cancelled():
            # Asked for, so that an answer nobody waits for any more is not reported as lost.
            future.exception()

    def _guarded(self, work: Callable[[Session], T], started: _Started) -> T:
        if not self._circuit.admit():
            self._refuse()
        try:
            with self._connections.slot() as engine:
                started.value = True
                with Session(engine, expire_on_commit=False) as session:
                    result = work(session)
        except Exception as error:
            self._judge(error)
            if (translated := translate(error)) is None:
                raise
            logger.warning("registry: %s", describe(error), extra={"action": "registry_failed"})
            raise translated from error
        self._circuit.succeed()
        return result

    def _judge(self, error: Exception) -> None:
        is_stuck = isinstance(error, exc.TimeoutError) and not self._circuit.is_closed
        if is_stuck or is_connection_failure(error):
            self._give_up()
        else:
            # Whatever else went wrong, the server answered.
            self._circuit.succeed()

    def _give_up(self) -> None:
        self._circuit.fail()
        # A connection that hangs or broke says nothing good of the others in the pool.
        self._connections.discard()

    def _refuse(self) -> None:
        raise unavailable("the registry cannot be reached now: try again", reason="circuit")


def _read(session: Session, work: Callable[[Session], T]) -> T:
    session.connection(execution_options={"postgresql_readonly": True})
    return work(session)


def _write(session: Session, work: Callable[[Session], T]) -> Written[T]:
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

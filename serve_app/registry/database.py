"""
The door to PostgreSQL: one transaction a call, in a bounded pool of threads off the event loop.

A write announces what it changed in the ``changes`` sequence; a dead server is answered for at
once by a circuit breaker.
"""

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self, TypeVar

from sqlalchemy import exc, text
from sqlalchemy.orm import Session

from cluster.errors import InsecureSettings, Overloaded
from cluster.settings import Settings
from serve_app.registry.circuit import Circuit
from serve_app.registry.connections import Connections, PoolLimits
from serve_app.registry.refusals import describe, is_connection_failure, translate, unavailable
from serve_app.registry.transactions import Written, record_change, run_read, run_write

#: ``Session`` is what work is given; SQLAlchemy itself is imported in this package alone.
__all__ = ["Database", "Session", "Written", "record_change"]
#: ``Session`` too: what is above the registry names it in signatures and knows no SQLAlchemy.
__all__ = ["Database", "Session", "Written", "record_change"]

logger = logging.getLogger(__name__)
T = TypeVar("T")

#: Seconds after which a caller is told that the registry does not answer; above the server's own
#: statement timeout, so that it fires only when the server itself is stuck.
ANSWER_TIMEOUT_S = 15.0
#: Calls that may wait for a thread, for each thread.
WAITING_PER_THREAD = 20


@dataclass(slots=True)
class _Started:
    """Set by the thread once the work has its connection, so that queueing is not a fault."""

    value: bool = False


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
        # Following changes must not queue behind what causes them: writers wait for it.
        self._urgent = ThreadPoolExecutor(1, thread_name_prefix="registry-urgent")
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

    async def read(
        self,
        work: Callable[[Session], T],
        *,
        timeout_s: float = ANSWER_TIMEOUT_S,
        is_urgent: bool = False,
    ) -> T:
        """
        What ``work`` returns, run in one read-only transaction in a pool thread.

        Args:
            work: Called with a session of its own; what it returns must not need that any more.
            timeout_s: Seconds to wait for an answer.
            is_urgent: Takes the one thread and connection kept for following changes.

        Raises:
            RegistryUnavailable: If PostgreSQL is away, stuck or out of connections.
        """
        return await self._call(
            lambda session: run_read(session, work), timeout_s, is_urgent=is_urgent
        )

    async def write(
        self,
        work: Callable[[Session], T],
        *,
        timeout_s: float = ANSWER_TIMEOUT_S,
        is_urgent: bool = False,
    ) -> Written[T]:
        """
        What ``work`` returns, committed, and the sequence of its changes.

        Raises:
            RegistryUnavailable: As for ``read``; after a timeout the write may still be made.
            Conflict: If a constraint refused it and ``work`` did not say so itself.
        """
        return await self._call(
            lambda session: run_write(session, work), timeout_s, is_urgent=is_urgent
        )

    async def ping(self) -> float:
        """Milliseconds of one round trip, thread hop included; raises as ``read`` does."""
        started = time.perf_counter()
        await self.read(lambda session: session.execute(text("SELECT 1")).scalar_one())
        return (time.perf_counter() - started) * 1000

    async def close(self) -> None:
        """Close the connections; calls in flight finish first."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._urgent.shutdown(wait=False, cancel_futures=True)
        self._connections.discard()

    async def _call(self, work: Callable[[Session], T], timeout_s: float, *, is_urgent: bool) -> T:
        if self._circuit.is_open:
            self._refuse()
        if not is_urgent and self._pending >= self._threads * WAITING_PER_THREAD:
            raise Overloaded("too many requests wait for the registry: try again", retry_after_s=1)
        self._pending += 1
        started = _Started()
        executor = self._urgent if is_urgent else self._executor
        future = asyncio.get_running_loop().run_in_executor(
            executor,
            # A copied context: what the thread logs carries the request id as well.
            contextvars.copy_context().run,
            lambda: self._guarded(work, started, is_urgent=is_urgent),
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

    def _guarded(self, work: Callable[[Session], T], started: _Started, *, is_urgent: bool) -> T:
        if not self._circuit.admit():
            self._refuse()
        try:
            with self._connections.slot(is_urgent=is_urgent) as engine:
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

"""
The connection pool: sized by the settings and by this replica's share of the server.

The engine is made at the first successful connection, since the share needs an answer from the
server and a replica must start while the server is away.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, exc, make_url, text
from sqlalchemy.pool import NullPool

logger = logging.getLogger(__name__)

#: Seconds for one connection attempt: a server that hangs is as good as away.
CONNECT_TIMEOUT_S = 2
#: Connections left to operators, backups and migrations.
RESERVED_CONNECTIONS = 10
#: A rollout with surge runs two generations of every replica side by side.
GENERATIONS = 2
MAX_NAME_LENGTH = 63


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolLimits:
    """How many connections a process may hold, and for how long each thing may take."""

    size: int = 20
    overflow: int = 10
    timeout_s: float = 30.0
    recycle_s: int = 3600
    #: Processes that share the server, for the share; 1 for a command line.
    replicas: int = 1
    statement_timeout_s: float = 10.0
    lock_timeout_s: float = 5.0


def share(limits: PoolLimits, max_connections: int) -> tuple[int, int]:
    """
    Pool size and overflow of one replica: the settings, or its share of the server if less.

    Args:
        limits: What the settings ask for.
        max_connections: What the server gives to ordinary users.
    """
    spare = max(max_connections - RESERVED_CONNECTIONS, 2)
    mine = max(spare // (limits.replicas * GENERATIONS), 2)
    size = min(limits.size, mine)
    return size, min(limits.overflow, mine - size)


class Connections:
    """The engine of one process, opened on demand; thread-safe."""

    def __init__(self, url: str, limits: PoolLimits, *, application_name: str) -> None:
        self._url = make_url(url)
        self._limits = limits
        self._name = application_name[:MAX_NAME_LENGTH]
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._slots = {False: threading.BoundedSemaphore(1), True: threading.BoundedSemaphore(1)}

    def engine(self) -> Engine:
        """
        The pooled engine.

        Raises:
            sqlalchemy.exc.OperationalError: At the first call, if the server cannot be reached.
        """
        if self._engine is None:
            with self._lock:
                if self._engine is None:
                    self._engine = self._open()
        return self._engine

    @contextmanager
    def slot(self, *, is_urgent: bool = False) -> Iterator[Engine]:
        """
        The engine and the right to one of its connections; one is kept for what is urgent.

        Raises:
            sqlalchemy.exc.TimeoutError: If every connection stayed busy for ``timeout_s``.
            sqlalchemy.exc.OperationalError: As ``engine`` does.
        """
        engine = self.engine()
        slots = self._slots[is_urgent]
        if not slots.acquire(timeout=self._limits.timeout_s):
            raise exc.TimeoutError(f"all connections busy for {self._limits.timeout_s} s")
        try:
            yield engine
        finally:
            slots.release()

    def discard(self) -> None:
        """Forget pooled connections, so that the next attempt connects anew."""
        if self._engine is not None:
            self._engine.dispose()

    def _open(self) -> Engine:
        single = create_engine(self._url, poolclass=NullPool, connect_args=self._arguments())
        with single.connect() as connection:
            maximum = connection.execute(
                text(
                    "SELECT current_setting('max_connections')::int"
                    " - current_setting('superuser_reserved_connections')::int"
                )
            ).scalar_one()
        size, overflow = share(self._limits, maximum)
        self._log_share(size, overflow, maximum)
        ordinary = max(1, size + overflow - 1)
        self._slots[False] = threading.BoundedSemaphore(ordinary)
        engine = create_engine(
            self._url,
            pool_size=size,
            max_overflow=ordinary + 1 - size,
            pool_timeout=self._limits.timeout_s,
            pool_recycle=self._limits.recycle_s,
            pool_pre_ping=True,
            # Parameters are password hashes, e-mails, digests of keys: nothing for a traceback.
            hide_parameters=True,
            connect_args=self._arguments(),
        )
        event.listen(engine, "connect", _session_settings(self._limits))
        return engine

    def _log_share(self, size: int, overflow: int, maximum: int) -> None:
        lowered = (size, overflow) != (self._limits.size, self._limits.overflow)
        logger.log(
            logging.WARNING if lowered else logging.INFO,
            "database pool of %s: %d + %d connections%s",
            self._name,
            size,
            overflow,
            f", lowered to this replica's share of {maximum}" if lowered else "",
            extra={"action": "pool_sized", "pool_size": size, "pool_overflow": overflow},
        )

    def _arguments(self) -> dict[str, Any]:
        return {
            "application_name": self._name,
            "connect_timeout": CONNECT_TIMEOUT_S,
            # A peer that vanished is noticed within half a minute instead of two hours.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        } | _url_arguments(self._url)


def _url_arguments(url: URL) -> dict[str, Any]:
    # What the operator wrote into DATABASE_URL wins over our defaults.
    ours = {"connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count"}
    return {name: value for name, value in url.query.items() if name in ours}


def _session_settings(limits: PoolLimits) -> Callable[[Any, object], None]:
    # Statements, not the "options" start-up parameter, which PgBouncer refuses.
    values = (
        str(int(limits.statement_timeout_s * 1000)),
        str(int(limits.lock_timeout_s * 1000)),
    )

    def apply(connection: Any, record: object) -> None:
        del record
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('statement_timeout', %s, false),"
                " set_config('lock_timeout', %s, false),"
                " set_config('idle_in_transaction_session_timeout', '60000', false),"
                " set_config('TimeZone', 'UTC', false)",
                values,
            )
        connection.commit()

    return apply

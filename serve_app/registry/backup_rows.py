"""What a backup must know of the registry: a snapshot, its rows, the files they refer to."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import Connection, create_engine, exc, text
from sqlalchemy.pool import NullPool

from cluster.backup.faults import BackupFailed, BackupRefused
from cluster.backup.registry import RegistrySnapshot
from serve_app.registry.refusals import translate

#: Key of the advisory lock that backups and the collection of garbage hold.
BACKUP_LOCK = 0x736C6970_0006
#: Days that the bytes of a deleted version are kept.
GRACE_DAYS = 7
#: The server may notice a moment late that a holder was killed.
_LINGER_S = 2.0
_POLL_S = 0.05

_TABLES = text(
    "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'p') AND n.nspname = 'public' ORDER BY c.relname"
)
_VERSIONS = """
    SELECT v.sha256, v.size_bytes,
           v.report -> 'compiled' ->> 'sha256' AS compiled_sha256,
           (v.report -> 'compiled' ->> 'size_bytes')::bigint AS compiled_bytes,
           v.deleted_at IS NULL AND m.deleted_at IS NULL AS is_live
      FROM model_versions v JOIN models m ON m.id = v.model_id
     WHERE coalesce(least(v.deleted_at, m.deleted_at), 'infinity')
           > now() - make_interval(days => :days)
"""


class BackupRows:
    """The registry behind one DATABASE_URL, as backups and garbage collection ask for it."""

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def url(self) -> str:
        """DATABASE_URL."""
        return self._url

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """
        Hold the lock of backups, on a connection of its own.

        Raises:
            BackupRefused: Another holds it.
            BackupFailed: At the end, if the connection was lost meanwhile.
        """
        with connected(self._url, "slipway-backup-lock") as connection:
            take_lock(
                connection,
                BACKUP_LOCK,
                "another backup, or the collection of garbage, runs now: wait for it to end",
            )
            yield
            try:
                connection.execute(text("SELECT 1"))
            except exc.SQLAlchemyError as error:
                raise BackupFailed(
                    "the connection that kept others out was lost: make the backup again"
                ) from error

    @contextmanager
    def snapshot(self) -> Iterator[RegistrySnapshot]:
        """The registry as one transaction sees it; pg_dump sees the same while this is open."""
        with connected(self._url, "slipway-backup") as plain:
            connection = plain.execution_options(isolation_level="REPEATABLE READ")
            connection.execute(text("SET TRANSACTION READ ONLY"))
            live, graced = _artifacts(connection)
            yield RegistrySnapshot(
                snapshot_id=connection.execute(text("SELECT pg_export_snapshot()")).scalar_one(),
                server_version=server_version(connection),
                schema=_schema(connection),
                rows=count_rows(connection, table_names(connection)),
                needed=live,
                welcome=graced,
            )

    def referred(self) -> frozenset[str]:
        """sha256 of every file that a version needs, or needed until seven days ago."""
        with connected(self._url, "slipway-gc") as connection:
            live, graced = _artifacts(connection)
        return frozenset(live) | frozenset(graced)


@contextmanager
def connected(url: str, name: str, *, database: str | None = None) -> Iterator[Connection]:
    """
    One connection without the limits that requests have.

    Args:
        url: DATABASE_URL.
        name: How the server's own views name it.
        database: Another one of the same server.

    Raises:
        RegistryUnavailable: If the server cannot be reached.
    """
    arguments = {"connect_timeout": 10, "application_name": name}
    engine = create_engine(url, poolclass=NullPool, connect_args=arguments, hide_parameters=True)
    if database is not None:
        target = engine.url.set(database=database)
        engine = create_engine(
            target, poolclass=NullPool, connect_args=arguments, hide_parameters=True
        )
    try:
        with engine.connect() as connection:
            for setting in ("statement_timeout", "idle_in_transaction_session_timeout"):
                connection.execute(text(f"SET {setting} = 0"))
            connection.commit()
            yield connection
    except exc.SQLAlchemyError as error:
        if (translated := translate(error)) is not None:
            raise translated from error
        raise
    finally:
        engine.dispose()


def take_lock(connection: Connection, key: int, refusal: str) -> None:
    """
    Hold an advisory lock until the connection ends.

    Raises:
        BackupRefused: With this sentence, if another holds it.
    """
    taken = text("SELECT pg_try_advisory_lock(:key)")
    deadline_s = time.monotonic() + _LINGER_S
    while not connection.execute(taken, {"key": key}).scalar_one():
        connection.rollback()
        if time.monotonic() > deadline_s:
            raise BackupRefused(refusal)
        time.sleep(_POLL_S)
    connection.commit()


def table_names(connection: Connection) -> list[str]:
    """Every table of the registry, those of another release included."""
    return list(connection.execute(_TABLES).scalars())


def count_rows(connection: Connection, tables: list[str]) -> Mapping[str, int]:
    """Rows of each table."""
    quote = connection.dialect.identifier_preparer.quote
    return {
        table: connection.execute(text(f"SELECT count(*) FROM {quote(table)}")).scalar_one()  # noqa: S608 - a quoted name from the server's own catalogue
        for table in tables
    }


def server_version(connection: Connection) -> str:
    """As "18.4"."""
    told = connection.execute(text("SHOW server_version")).scalar_one()
    # "18.4 (Debian 18.4-1.pgdg13+1)"
    return str(told).split(" ", maxsplit=1)[0]


def _schema(connection: Connection) -> str:
    if "alembic_version" not in table_names(connection):
        raise BackupFailed("the database has no schema of ours: is DATABASE_URL the right one?")
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def _artifacts(connection: Connection) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes by sha256: what is needed, and what goes along if it is there."""
    live: dict[str, int] = {}
    graced: dict[str, int] = {}
    if "model_versions" not in table_names(connection):
        return live, graced
    for row in connection.execute(text(_VERSIONS), {"days": GRACE_DAYS}):
        (live if row.is_live else graced)[row.sha256] = row.size_bytes
        # The compiled form is made again where it is missing.
        if row.compiled_sha256 is not None:
            graced[row.compiled_sha256] = row.compiled_bytes
    return live, graced

"""
The registry as a restore replaces it: filled beside the old database, then renamed in one step.

    <name>                    what the platform uses
    <name>_restoring          being filled; dropped by the next restore if one was killed
    <name>_before_<time>      what was there before, kept for whoever regrets
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Connection, make_url, text

from cluster.backup.faults import BackupFailed, BackupRefused
from cluster.backup.registry import Settled
from serve_app.registry import migrate
from serve_app.registry.backup_rows import (
    connected,
    count_rows,
    server_version,
    table_names,
    take_lock,
)
from serve_app.registry.restore_settling import settle

#: Key of the advisory lock, in the maintenance database, that keeps other restores out.
RESTORE_LOCK = 0x736C6970_0007
MAINTENANCE = "postgres"
#: Rows of any of these make a database worth asking about.
_PRECIOUS = ("users", "models", "api_keys")
_NAME_BYTES_MAX = 63
_LINGER_S = 2.0
_POLL_S = 0.02
_USERS = text(
    "SELECT DISTINCT coalesce(nullif(application_name, ''), 'without a name')"
    " FROM pg_stat_activity"
    " WHERE datname = :name AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    " ORDER BY 1 LIMIT 5"
)


class RestoreRows:
    """The database that DATABASE_URL names, and the one that shall take its place."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._name = str(make_url(url).database)
        self._staged = f"{self._name[: _NAME_BYTES_MAX - 10]}_restoring"

    @property
    def url(self) -> str:
        """DATABASE_URL."""
        return self._url

    @property
    def server_version(self) -> str:
        """As "18.4"."""
        with self._maintenance() as connection:
            return server_version(connection)

    def refuse_schema(self, schema: str) -> None:
        """
        Return if this release knows the schema.

        Raises:
            BackupRefused: It is of a later release.
        """
        if schema not in migrate.revisions():
            raise BackupRefused(
                f"the backup's schema {schema} is not known to this release: install the release "
                "that made it, or a later one"
            )

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """
        Keep other restores out, having seen that nobody uses the database.

        Raises:
            BackupRefused: Somebody does, or the role may not create databases.
        """
        with self._maintenance() as connection:
            take_lock(
                connection, RESTORE_LOCK, "another restore runs on this server: wait for it to end"
            )
            self._refuse_powerless(connection)
            self._refuse_used(connection)
            connection.commit()
            yield

    def occupied(self) -> str | None:
        """What the database holds, in words; ``None`` for an empty or a missing one."""
        with self._maintenance() as connection:
            if not _exists(connection, self._name):
                return None
        with connected(self._url, "slipway-restore") as connection:
            present = set(table_names(connection))
            rows = count_rows(connection, [name for name in _PRECIOUS if name in present])
        held = [f"{count} {name.replace('_', ' ')}" for name, count in rows.items() if count]
        return ", ".join(held) or None

    def stage(self) -> str:
        """Name of a new empty database; what a killed restore left is dropped."""
        with self._maintenance() as connection:
            autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
            quoted = _quoted(connection, self._staged)
            autocommit.execute(text(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)"))
            autocommit.execute(text(f"CREATE DATABASE {quoted} TEMPLATE template0 ENCODING 'UTF8'"))
        return self._staged

    def staged_rows(self, tables: Mapping[str, int]) -> Mapping[str, int]:
        """Rows of these tables in the staged database."""
        with self._in_staged() as connection:
            present = set(table_names(connection))
            return count_rows(connection, [name for name in tables if name in present])

    def settle(self, *, revoke_keys: bool, details: Mapping[str, object]) -> Settled:
        """Migrate the staged database, end its sessions and, if asked, its keys."""
        staged = make_url(self._url).set(database=self._staged)
        steps = migrate.upgrade(staged.render_as_string(hide_password=False))
        with self._in_staged() as connection:
            sessions, keys = settle(connection, revoke_keys=revoke_keys, details=dict(details))
        return Settled(sessions_ended=sessions, keys_revoked=keys, migrated=tuple(steps))

    def switch(self) -> str | None:
        """Rename both in one transaction; the name of what is kept, if it held anything."""
        kept = self.occupied() is not None
        before = self._before_name()
        with self._maintenance() as connection:
            self._refuse_used(connection)
            if _exists(connection, self._name):
                _rename(connection, self._name, before)
            else:
                kept, before = False, ""
            _rename(connection, self._staged, self._name)
            connection.commit()
            if before and not kept:
                autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
                autocommit.execute(
                    text(f"DROP DATABASE {_quoted(connection, before)} WITH (FORCE)")
                )
        return before if kept else None

    def discard(self) -> None:
        """Drop the staged database, if there is one."""
        with self._maintenance() as connection:
            autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
            quoted = _quoted(connection, self._staged)
            autocommit.execute(text(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)"))

    def _before_name(self) -> str:
        suffix = f"_before_{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        return self._name[: _NAME_BYTES_MAX - len(suffix)] + suffix

    def _refuse_powerless(self, connection: Connection) -> None:
        statement = "SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user"
        if not connection.execute(text(statement)).scalar_one():
            raise BackupRefused(
                "a restore fills a database beside the old one, which DATABASE_URL's role may not "
                "create: ALTER ROLE … CREATEDB, as the server's administrator"
            )

    def _refuse_used(self, connection: Connection) -> None:
        deadline_s = time.monotonic() + _LINGER_S
        # A connection that was closed a moment ago, such as one of ours, is still listed.
        while (names := _users(connection, self._name)) and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
        if names:
            raise BackupRefused(
                f"the database is in use ({', '.join(names)}): stop the platform with "
                "`slipway down`, then restore"
            )

    @contextmanager
    def _maintenance(self) -> Iterator[Connection]:
        with connected(self._url, "slipway-restore", database=MAINTENANCE) as connection:
            yield connection

    @contextmanager
    def _in_staged(self) -> Iterator[Connection]:
        with connected(self._url, "slipway-restore", database=self._staged) as connection:
            yield connection


def _exists(connection: Connection, name: str) -> bool:
    statement = text("SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = :name)")
    return bool(connection.execute(statement, {"name": name}).scalar_one())


def _users(connection: Connection, name: str) -> list[str]:
    found = list(connection.execute(_USERS, {"name": name}).scalars())
    # The server's views stand still within a transaction.
    connection.commit()
    return found


def _rename(connection: Connection, name: str, new_name: str) -> None:
    old, new = _quoted(connection, name), _quoted(connection, new_name)
    connection.execute(text(f"ALTER DATABASE {old} RENAME TO {new}"))


def _quoted(connection: Connection, name: str) -> str:
    if not name:
        raise BackupFailed("DATABASE_URL names no database")
    return connection.dialect.identifier_preparer.quote_identifier(name)

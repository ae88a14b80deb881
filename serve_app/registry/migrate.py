"""
Bring the registry's schema to this release's: from the command line only, never from a replica.

An advisory lock makes two commands that run at once take turns.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, exc, text
from sqlalchemy.pool import NullPool

from cluster.errors import InsecureSettings
from serve_app.registry.refusals import translate

#: Key of the advisory lock; any constant that is ours.
MIGRATION_LOCK = 0x736C6970_0002
_SCRIPTS = Path(__file__).with_name("migrations")


def upgrade(url: str) -> list[str]:
    """
    Apply what is missing and name it, oldest first; empty if the schema was current.

    Raises:
        RegistryUnavailable: If the server cannot be reached.
        InsecureSettings: The schema is newer than this release.
    """
    with _locked(url) as connection:
        missing = _missing(connection)
        if missing:
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
        return missing


def plan_sql(url: str) -> str:
    """
    The statements that ``upgrade`` would run; empty if the schema is current.

    Raises:
        RegistryUnavailable: If the server cannot be reached.
        InsecureSettings: The schema is newer than this release.
    """
    with _connected(url) as connection:
        if not _missing(connection):
            return ""
        current = MigrationContext.configure(connection).get_current_revision()
    written = io.StringIO()
    config = _config()
    config.output_buffer = written
    command.upgrade(config, f"{current or 'base'}:head", sql=True)
    return written.getvalue()


def pending(url: str) -> list[str]:
    """
    Revisions that ``upgrade`` would apply, oldest first, each as ``<id> <title>``.

    Raises:
        RegistryUnavailable: If the server cannot be reached.
        InsecureSettings: The schema is newer than this release.
    """
    with _connected(url) as connection:
        return _missing(connection)


def head_revision() -> str:
    """The revision that this release's models need."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise RuntimeError(f"no migrations are installed under {_SCRIPTS}")
    return head


def revisions() -> frozenset[str]:
    """Every revision that this release knows."""
    scripts = ScriptDirectory.from_config(_config())
    return frozenset(step.revision for step in scripts.walk_revisions())


def _missing(connection: Connection) -> list[str]:
    scripts = ScriptDirectory.from_config(_config())
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in revisions():
        raise InsecureSettings(
            f"the database is at revision {current}, which this release does not know: "
            "run a release at least as new as the one that migrated it"
        )
    steps = scripts.iterate_revisions("head", current or "base")
    return [f"{step.revision} {step.doc}" for step in reversed(list(steps))]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return config


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    arguments = {"connect_timeout": 5, "application_name": "slipway-migrate"}
    engine = create_engine(url, poolclass=NullPool, connect_args=arguments)
    try:
        with engine.connect() as connection:
            yield connection
    except exc.SQLAlchemyError as error:
        if (translated := translate(error)) is not None:
            raise translated from error
        raise
    finally:
        engine.dispose()


@contextmanager
def _locked(url: str) -> Iterator[Connection]:
    with _connected(url) as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.commit()
        # Held by the session, so it ends with the connection even after a crash.
        yield connection

"""
This directory's platform as a command reaches it: its settings, its database, its admin.

Nothing needs to be serving: an embedded PostgreSQL that is down is started for the command and
stopped after it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import SecretStr

from cluster.addresses import service_url
from cluster.contracts import JsonObject
from cluster.embedded import EmbeddedPostgres
from cluster.errors import PlatformError
from cluster.run_record import find_record
from cluster.setting_sources import Role, load_settings
from cluster.settings import Settings
from serve_app.registry import audit, migrate, sessions, users
from serve_app.registry.changes import ChangeFollower
from serve_app.registry.database import Database, Session
from serve_app.registry.users import Account
from serve_app.security.tokens import Tokens

T = TypeVar("T")


def local_settings() -> Settings:
    """Settings of the environment, with the SECRET_KEY that `slipway up` was given or made."""
    settings = load_settings(Role.OPERATOR)
    if settings.secret_key is not None:
        return settings
    secrets = settings.slipway_home / "secrets"
    key = _first_text(secrets / "given" / "SECRET_KEY", secrets / "secret_key")
    return settings.model_copy(update={"secret_key": SecretStr(key) if key else None})


@contextmanager
def local_database(settings: Settings) -> Iterator[Database]:
    """
    The registry of this directory's platform, with its schema up to date if it is embedded.

    Raises:
        RegistryUnavailable: If it cannot be reached.
    """
    with database_url(settings) as url:
        settings = settings.model_copy(
            update={"database_url": SecretStr(url), "database_pool_size": 2, "workers": 1}
        )
        yield Database.from_settings(settings, application_name="slipway-cli")


async def write(
    database: Database,
    work: Callable[[Session], T],
    *,
    action: str,
    target: tuple[str, Callable[[T], str]],
    details: JsonObject | None = None,
) -> T:
    """
    What ``work`` returns, committed with an audit row and applied by every live replica.

    Args:
        database: Of ``with_database``.
        work: Runs in one transaction.
        action: What the audit trail calls it.
        target: Kind of thing, and how to read its id from what ``work`` returns.
        details: For the audit trail.
    """
    kind, id_of = target

    def change(session: Session) -> T:
        value = work(session)
        audit.record(
            session,
            actor="cli",
            action=action,
            target_type=kind,
            target_id=id_of(value),
            details=details,
        )
        return value

    written = await database.write(change)
    await ChangeFollower(database, "cli").settle(written.sequence)
    return written.value


def sign_in(email: str | None) -> tuple[str, str]:
    """
    Address of this directory's platform, and an access token that lives for minutes.

    Args:
        email: Whose token; ``None`` for the first active administrator.

    Raises:
        PlatformError: There is no platform here, or no such active account.
    """
    settings = local_settings()
    if settings.secret_key is None:
        raise PlatformError(
            f"there is no platform in {settings.slipway_home}: start one with `slipway up`, or "
            "set SLIPWAY_URL and SLIPWAY_API_KEY"
        )
    tokens = Tokens.from_settings(settings)

    def issue(session: Session) -> str:
        account = _account(session, email)
        opened = sessions.open_session(
            session,
            account.id,
            session_epoch=account.session_epoch,
            lifetime_s=tokens.access_lifetime_s,
            now=datetime.now(UTC),
        )
        return tokens.access(account.id, opened.family_id, account.session_epoch)

    async def sign(database: Database) -> str:
        return (await database.write(issue)).value

    record = find_record(settings.slipway_home)
    return record.url if record else service_url(settings), with_database(sign)


def _account(session: Session, email: str | None) -> Account:
    if email is None:
        admins, _ = users.list_users(session, limit=1, offset=0, role="admin", is_active=True)
        if not admins:
            raise PlatformError(
                "there is no administrator: make one with `slipway users create EMAIL --role admin`"
            )
        return admins[0]
    account = users.get_user_by_email(session, email)
    if not account.is_active:
        raise PlatformError(f"{email} is deactivated: `slipway users activate {email}` lets it in")
    return account


def with_database(work: Callable[[Database], Awaitable[T]]) -> T:
    """What ``work`` returns, run against this directory's registry."""

    async def run(database: Database) -> T:
        try:
            return await work(database)
        finally:
            await database.close()

    with local_database(local_settings()) as database:
        return asyncio.run(run(database))


@contextmanager
def database_url(settings: Settings) -> Iterator[str]:
    """URL of the registry; an embedded server that is down runs meanwhile, its schema current."""
    home = settings.slipway_home
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    server = EmbeddedPostgres(home)
    given = _first_text(home / "secrets" / "given" / "DATABASE_URL")
    if given and not (home / "postgres").exists():
        yield given
        return
    was_running = server.is_running
    url = server.start()
    try:
        if not was_running:
            migrate.upgrade(url)
        yield url
    finally:
        if not was_running:
            server.stop()


def _first_text(*paths: Path) -> str | None:
    for path in paths:
        try:
            return path.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise PlatformError(
                f"{path} cannot be read: run this as the account that runs the platform"
            ) from error
    return None

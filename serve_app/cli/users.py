"""``slipway users``: accounts, straight in the registry, whether or not anything serves."""

import sys
from dataclasses import asdict
from functools import partial
from typing import Annotated, Literal

import typer

from cluster.contracts import JsonObject
from serve_app.cli import local
from serve_app.cli.output import AsJson, emit, table
from serve_app.registry import logins, users
from serve_app.registry.database import Database
from serve_app.registry.users import Account
from serve_app.security.emails import check_email
from serve_app.security.passwords import Passwords, check_password

commands = typer.Typer(no_args_is_help=True, help="Make and change accounts.")
Role = Literal["member", "publisher", "admin"]
COLUMNS = ("id", "email", "role", "is_active", "created_at")
PAGE = 1000

Email = Annotated[str, typer.Argument(metavar="EMAIL")]
FromStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]


def register(app: typer.Typer) -> None:
    """Add ``slipway users``."""
    app.add_typer(commands, name="users")


@commands.command()
def create(
    email: Email,
    role: Annotated[Role, typer.Option(help="What the account may do.")],
    full_name: Annotated[str | None, typer.Option()] = None,
    password_stdin: FromStdin = False,
    as_json: AsJson = False,
) -> None:
    """Make an account."""
    check_email(email)
    password = _read_password(from_stdin=password_stdin)

    async def make(database: Database) -> Account:
        password_hash = await Passwords().hash(password)
        return await local.write(
            database,
            lambda session: users.create_user(
                session, email=email, password_hash=password_hash, role=role, full_name=full_name
            ),
            action="user.create",
            target=("user", lambda account: account.id),
            details={"role": role},
        )

    account = local.with_database(make)
    emit(_shown(account), [f"{account.email} is {role}, id {account.id}"], as_json=as_json)


@commands.command("list")
def list_users(as_json: AsJson = False) -> None:
    """List every account."""

    async def read(database: Database) -> list[Account]:
        found: list[Account] = []
        while True:
            start = len(found)
            page, total = await database.read(partial(users.list_users, limit=PAGE, offset=start))
            found += page
            if not page or len(found) >= total:
                return found

    items = [_shown(account) for account in local.with_database(read)]
    emit({"items": items}, table(items, COLUMNS), as_json=as_json)


@commands.command()
def deactivate(email: Email, as_json: AsJson = False) -> None:
    """End an account's sessions and refuse its keys until it is activated again."""
    account = _change(email, is_active=False)
    emit(_shown(account), [f"{account.email} is deactivated"], as_json=as_json)


@commands.command()
def activate(email: Email, as_json: AsJson = False) -> None:
    """Let an account in again."""
    account = _change(email, is_active=True)
    emit(_shown(account), [f"{account.email} is active"], as_json=as_json)


@commands.command("set-role")
def set_role(
    email: Email, role: Annotated[Role, typer.Argument()], as_json: AsJson = False
) -> None:
    """Give an account another role."""
    account = _change(email, role=role)
    emit(_shown(account), [f"{account.email} is {account.role}"], as_json=as_json)


@commands.command("reset-password")
def reset_password(
    email: Email, password_stdin: FromStdin = False, as_json: AsJson = False
) -> None:
    """Give an account another password, which ends its sessions."""
    password = _read_password(from_stdin=password_stdin)

    async def change(database: Database) -> Account:
        password_hash = await Passwords().hash(password)
        return await local.write(
            database,
            lambda session: logins.set_password(
                session, users.get_user_by_email(session, email).id, password_hash
            ),
            action="user.password_reset",
            target=("user", lambda account: account.id),
        )

    account = local.with_database(change)
    emit(_shown(account), [f"{account.email} has the new password"], as_json=as_json)


def _change(email: str, *, role: Role | None = None, is_active: bool | None = None) -> Account:
    async def change(database: Database) -> Account:
        return await local.write(
            database,
            lambda session: users.update_user(
                session,
                users.get_user_by_email(session, email).id,
                role=role,
                is_active=is_active,
            ),
            action="user.update",
            target=("user", lambda account: account.id),
            details={"role": role} if role else {"is_active": is_active},
        )

    return local.with_database(change)


def _read_password(*, from_stdin: bool) -> str:
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        raise typer.BadParameter(
            "there is no terminal to ask on: pipe the password in and say --password-stdin",
            param_hint="--password-stdin",
        )
    check_password(password)
    return password


def _shown(account: Account) -> JsonObject:
    return asdict(account) | {"created_at": account.created_at.isoformat()}

"""``slipway keys``: API keys of any account, straight in the registry."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated

import typer

from cluster.contracts import JsonObject
from serve_app.cli import local
from serve_app.cli.output import AsJson, emit, say, table
from serve_app.registry import keys, users
from serve_app.registry.database import Database, Session
from serve_app.registry.key_rotation import RotatedKeys, rotate_key
from serve_app.registry.keys import KeyRecord, KeySpec
from serve_app.security.api_keys import make_key
from serve_app.security.principals import DEFAULT_SCOPES, SCOPES

commands = typer.Typer(no_args_is_help=True, help="Make, list, rotate and revoke API keys.")
COLUMNS = ("id", "name", "prefix", "scopes", "rate_limit", "expires_at", "last_used_at")
PAGE = 1000
NAME_LENGTH_MAX = 100

User = Annotated[str, typer.Option("--user", metavar="EMAIL", help="Whose key it is.")]


def register(app: typer.Typer) -> None:
    """Add ``slipway keys``."""
    app.add_typer(commands, name="keys")


@commands.command()
def create(
    user: User,
    name: Annotated[str, typer.Option(help="Unique among the user's keys.")],
    scopes: Annotated[
        str | None, typer.Option(help=f"Comma-separated: {', '.join(SCOPES)}; default: predict.")
    ] = None,
    rate_limit: Annotated[
        int | None, typer.Option(min=1, help="Requests a minute, in a bucket of its own.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, the only time that it is known."""
    if not 1 <= len(name) <= NAME_LENGTH_MAX:
        raise typer.BadParameter(f"use 1 to {NAME_LENGTH_MAX} characters", param_hint="--name")
    new = make_key()
    spec = KeySpec(name=name, scopes=_parse_scopes(scopes), rate_limit=rate_limit)

    async def make(database: Database) -> KeyRecord:
        return await local.write(
            database,
            lambda session: keys.create_key(
                session,
                users.get_user_by_email(session, user).id,
                spec,
                prefix=new.prefix,
                key_sha256=new.sha256,
            ),
            action="key.create",
            target=("key", lambda key: key.id),
            details={"name": name, "scopes": list(spec.scopes), "rate_limit": rate_limit},
        )

    key = local.with_database(make)
    emit(_shown(key) | {"key": new.text}, [new.text], as_json=as_json)
    if not as_json:
        say("Keep it: it is shown this once.")


@commands.command("list")
def list_keys(user: User, as_json: AsJson = False) -> None:
    """List a user's keys."""

    async def read(database: Database) -> list[KeyRecord]:
        return await database.read(
            lambda session: keys.list_keys(
                session, users.get_user_by_email(session, user).id, limit=PAGE, offset=0
            )[0]
        )

    items = [_shown(key) for key in local.with_database(read)]
    emit({"items": items}, table(items, COLUMNS), as_json=as_json)


@commands.command()
def rotate(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `slipway keys list` shows it.")],
    overlap_s: Annotated[
        int, typer.Option(min=0, max=30 * 86_400, help="Seconds that the old key still holds.")
    ] = 3600,
    as_json: AsJson = False,
) -> None:
    """Replace a key by a new one, printed the only time that it is known."""
    new = make_key()

    def replace(session: Session) -> RotatedKeys:
        old = keys.get_key(session, key_id, owner_id=None)
        return rotate_key(
            session,
            old.id,
            owner_id=None,
            overlap=timedelta(seconds=overlap_s),
            prefix=new.prefix,
            key_sha256=new.sha256,
            rate_limit=old.rate_limit,
        )

    async def change(database: Database) -> RotatedKeys:
        return await local.write(
            database,
            replace,
            action="key.rotate",
            target=("key", lambda rotated: rotated.new.id),
            details={"replaces": key_id, "overlap_s": overlap_s},
        )

    rotated = local.with_database(change)
    until = {"replaces": rotated.old.id, "old_expires_at": _shown(rotated.old)["expires_at"]}
    emit(_shown(rotated.new) | {"key": new.text} | until, [new.text], as_json=as_json)
    if not as_json:
        say(f"Keep it: it is shown this once. The old key holds until {until['old_expires_at']}.")


@commands.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As `slipway keys list` shows it.")],
    as_json: AsJson = False,
) -> None:
    """Revoke a key; from then on no replica takes it."""

    async def change(database: Database) -> KeyRecord:
        return await local.write(
            database,
            lambda session: keys.revoke_key(session, key_id, owner_id=None),
            action="key.revoke",
            target=("key", lambda key: key.id),
        )

    key = local.with_database(change)
    emit({"revoked": key.id}, [f"{key.name} is revoked"], as_json=as_json)


def _parse_scopes(text: str | None) -> tuple[str, ...]:
    if text is None:
        return DEFAULT_SCOPES
    named = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [scope for scope in named if scope not in SCOPES]
    if unknown or not named:
        raise typer.BadParameter(
            f"choose among {', '.join(SCOPES)}, separated by commas", param_hint="--scopes"
        )
    return named


def _shown(key: KeyRecord) -> JsonObject:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(key).items()
    }

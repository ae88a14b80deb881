"""``slipway services``, ``migrate`` and ``env``: what deploying by hand needs beforehand."""

import os
import shlex
from typing import Annotated

import typer

from cluster.addresses import ray_places
from cluster.databases import Databases, ServicesMarker, with_urls
from cluster.embedded import EmbeddedPostgres, EmbeddedValkey
from cluster.errors import PlatformError
from cluster.hardening import refuse_insecure
from cluster.ray_environment import FOREIGN, ray_environment
from cluster.ray_head import temporary_directory
from cluster.run_record import find_record
from cluster.secrets import STRIPPED, hand_over
from cluster.settings import Settings
from serve_app.cli.operator import operator_settings
from serve_app.cli.output import AsJson, emit, say
from serve_app.registry import migrate as migrations

commands = typer.Typer(no_args_is_help=True, help="Run the embedded PostgreSQL and Valkey alone.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="services")
    app.command()(migrate)
    app.command()(env)


@commands.command()
def start(as_json: AsJson = False) -> None:
    """Start the embedded servers in the background and bring the schema up to date."""
    settings = operator_settings()
    databases = Databases(settings)
    refuse_insecure(settings, is_database_embedded="DATABASE_URL" in databases.embedded)
    ServicesMarker(settings.slipway_home).set()
    steps = _upgrade(with_urls(settings, databases.start()))
    lines = [f"{name}: running" for name in databases.embedded] or ["none is needed"]
    emit({"embedded": databases.embedded, "migrated": steps}, lines, as_json=as_json)


@commands.command()
def stop(as_json: AsJson = False) -> None:
    """Stop the embedded servers."""
    home = operator_settings().slipway_home
    record = find_record(home)
    if record is not None and record.find_launcher() is not None:
        raise PlatformError("the platform uses them: stop it with `slipway down`")
    ServicesMarker(home).clear()
    EmbeddedValkey(home).stop()
    EmbeddedPostgres(home).stop()
    emit({"stopped": True}, ["stopped"], as_json=as_json)


def migrate(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the steps and their SQL, and apply none.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the registry's schema to this release's."""
    settings = operator_settings()
    databases = Databases(settings, only=("DATABASE_URL",))
    was_missing = databases.missing
    try:
        url = _database_url(with_urls(settings, databases.start()))
        steps = migrations.pending(url)
        if dry_run:
            sql = migrations.plan_sql(url)
            lines = [f"-- would migrate to {step}" for step in steps] + sql.splitlines()
            emit(
                {"pending": steps, "sql": sql}, lines or ["the schema is current"], as_json=as_json
            )
            return
        for step in steps:
            say(f"slipway: migrating to {step}")
        applied = migrations.upgrade(url)
    finally:
        if was_missing:
            databases.stop()
    emit({"migrated": applied}, applied or ["the schema is current"], as_json=as_json)


def _database_url(settings: Settings) -> str:
    assert settings.database_url is not None  # given, or that of the server just started
    return settings.database_url.get_secret_value()


def env(
    as_json: AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not say how to go on.")] = False,
) -> None:
    """Print Ray's environment as export lines, for `ray start` and `serve deploy` by hand."""
    settings = operator_settings()
    databases = Databases(settings)
    refuse_insecure(settings, is_database_embedded="DATABASE_URL" in databases.embedded)
    if databases.missing:
        raise PlatformError(
            f"no server for {', '.join(databases.missing)}: run `slipway services start` first, "
            "or name your own"
        )
    variables = by_hand(settings, databases)
    drop = sorted(name for name in STRIPPED | FOREIGN if name in os.environ)
    lines = [f"unset {' '.join(drop)}"] if drop else []
    lines += [f"export {name}={shlex.quote(value)}" for name, value in sorted(variables.items())]
    emit({"set": variables, "unset": drop}, lines, as_json=as_json)
    if not as_json and not quiet:
        say(
            "# ray start --head --node-ip-address 127.0.0.1 "
            f"--port {settings.ray_port} --dashboard-port {settings.dashboard_port}"
        )


def by_hand(settings: Settings, databases: Databases) -> dict[str, str]:
    """The variables that a shell lacks for a head started by hand; file names, never secrets."""
    home = settings.slipway_home
    urls = databases.start()
    settings = with_urls(settings, urls)
    secrets = hand_over(home, settings, os.environ, urls=urls)
    places = ray_places(home, temporary_directory(home, is_by_hand=True))
    environment = ray_environment(settings, secrets, places, os.environ)
    return {name: value for name, value in environment.items() if os.environ.get(name) != value}


def _upgrade(settings: Settings) -> list[str]:
    if settings.database_url is None:
        return []
    return migrations.upgrade(settings.database_url.get_secret_value())

"""``slipway up``, ``down``, ``status`` and ``deploy``: the whole platform from one terminal."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import psutil
import typer

from cluster.addresses import dashboard_url, service_url
from cluster.databases import Databases, ServicesMarker
from cluster.embedded import EmbeddedPostgres, EmbeddedValkey
from cluster.errors import PlatformError
from cluster.launch import Platform
from cluster.log_follower import LogFollower
from cluster.ray_head import end_remains, temporary_directory
from cluster.run_record import clear_record, exclusive, find_record
from cluster.secrets import hand_over
from cluster.serve_config import find_config, read_config
from cluster.settings import Settings
from cluster.stop_signals import StopRequested, stop_signals
from cluster.supervisor import Supervisor
from serve_app.cli import existing_serve, platform_status
from serve_app.cli.banner import banner_lines
from serve_app.cli.first_start import FirstStart, first_start, in_training
from serve_app.cli.operator import operator_settings
from serve_app.cli.output import AsJson, emit, say
from serve_app.registry import migrate

#: Longer than the longest drain and the head's own.
DOWN_TIMEOUT_S = 180.0

Config = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="Another serve_config.yaml."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command()(deploy)


def up(config: Config = None, as_json: AsJson = False) -> None:
    """Start everything, print where it answers, and keep it up until Ctrl-C or SIGTERM."""
    logging.basicConfig(format="slipway: %(message)s", stream=sys.stderr, level=logging.WARNING)
    settings = operator_settings()
    content = read_config(config or find_config())
    with exclusive(settings.slipway_home), stop_signals() as stop:
        platform = Platform(settings, content, migrate=_migrate, say=_progress)
        try:
            with in_training(settings) as training:
                platform.start()
                made = first_start(platform.settings, platform.url, training)
            _announce(platform, made, as_json=as_json)
            with _shown_logs(platform.settings):
                Supervisor(platform).run(stop.event)
        except StopRequested:
            pass
        finally:
            # From here on another Ctrl-C cuts the drain short and nothing else.
            stop.event.set()
            platform.stop(stop.skippable())


def down(as_json: AsJson = False) -> None:
    """Stop this directory's platform, or what a killed one left."""
    settings = operator_settings()
    home = settings.slipway_home
    record = find_record(home)
    launcher = record.find_launcher() if record else None
    if launcher is not None:
        _end_launcher(launcher)
    temporary = temporary_directory(home)
    survivors = end_remains(temporary, record.head if record else None)
    if not ServicesMarker(home).is_set:
        EmbeddedValkey(home).stop()
        EmbeddedPostgres(home).stop()
    clear_record(home)
    if survivors:
        pids = ", ".join(str(process.pid) for process in survivors)
        raise PlatformError(f"processes {pids} cannot be ended")
    was_running = launcher is not None
    line = "stopped" if was_running else "nothing was running"
    emit({"was_running": was_running}, [line], as_json=as_json)


def status(as_json: AsJson = False) -> None:
    """Say which parts run; exit code 1 unless all do."""
    parts = platform_status.look(operator_settings())
    emit(
        {"parts": [part.to_json() for part in parts]},
        [f"{part.name:<12} {part.state:<8} {part.detail}".rstrip() for part in parts],
        as_json=as_json,
    )
    if any(part.state != "running" for part in parts):
        raise typer.Exit(1)


def deploy(
    config: Config = None,
    address: Annotated[
        str | None, typer.Option(help="Ray's dashboard; default: RAY_DASHBOARD_ADDRESS.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put the application into a Serve instance that runs already, beside its other ones."""
    settings = operator_settings()
    databases = Databases(settings)
    if databases.missing:
        raise PlatformError(
            f"no server for {', '.join(databases.missing)}: name yours, "
            "or run `slipway services start`"
        )
    secrets = hand_over(settings.slipway_home, settings, os.environ, urls=databases.start())
    found = existing_serve.deploy(
        read_config(config or find_config()), settings, secrets, address, os.environ
    )
    lines = [
        f"{found.name} is {found.status}",
        *(f"  {d}: {s}" for d, s in found.deployments.items()),
    ]
    emit(
        {"name": found.name, "status": found.status, "deployments": found.deployments},
        lines,
        as_json=as_json,
    )


@contextmanager
def _shown_logs(settings: Settings) -> Iterator[None]:
    """Let a developer who watches read what every process logs."""
    if settings.is_hardened or not sys.stderr.isatty():
        yield
        return
    follower = LogFollower(settings, say)
    follower.start()
    try:
        yield
    finally:
        follower.stop()


def _migrate(settings: Settings) -> None:
    if settings.database_url is not None:
        for step in migrate.upgrade(settings.database_url.get_secret_value()):
            _progress(f"migrated to {step}")


def _progress(sentence: str) -> None:
    say(f"slipway: {sentence}")


def _announce(platform: Platform, made: FirstStart, *, as_json: bool) -> None:
    document = {
        "url": service_url(platform.settings),
        "docs_url": f"{platform.url}/docs",
        "dashboard_url": dashboard_url(platform.settings),
        "admin": made.admin_email,
        "admin_password": made.admin_password,
        "curl": made.curl,
    }
    emit(document, banner_lines(document, platform.settings.slipway_home), as_json=as_json)
    sys.stdout.flush()


def _end_launcher(launcher: psutil.Process) -> None:
    say(f"slipway: stopping pid {launcher.pid}")
    launcher.send_signal(signal.SIGTERM)
    try:
        launcher.wait(DOWN_TIMEOUT_S)
    except psutil.TimeoutExpired as error:
        raise PlatformError(
            f"pid {launcher.pid} does not end: end it with kill -9, then run `slipway down` again"
        ) from error

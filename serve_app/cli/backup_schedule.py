"""``slipway backup schedule``: a process of its own that makes backups by the clock."""

from collections.abc import Callable
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Annotated

import typer

from cluster.backup.catalogue import complete_names
from cluster.backup.manifest import moment_of
from cluster.backup.retention import KEEP_DAYS, prune
from cluster.backup.schedule import SHORTEST, Plan, Schedule
from cluster.backup.streams import Watch
from cluster.errors import InsecureSettings, PlatformError
from cluster.stop_signals import StopRequested, stop_signals
from cluster.units import parse_age_s
from serve_app.cli import backup_jobs
from serve_app.cli.backup_options import Endpoint, KeepDays, PassphraseFile, Place, open_place
from serve_app.cli.output import say


def schedule(
    place: Place,
    at: Annotated[str, typer.Option("--at", help="Time of day, HH:MM in UTC.")] = "02:00",
    every: Annotated[
        str | None,
        typer.Option("--every", help="As in `5 minutes`, the shortest; instead of --at."),
    ] = None,
    keep_days: KeepDays = KEEP_DAYS,
    passphrase_file: PassphraseFile = None,
    endpoint: Endpoint = "",
) -> None:
    """Make backups by the clock and prune old ones, in the foreground, until SIGTERM."""
    plan = Plan(daily_at=_time_of(at), every=None if every is None else _period_of(every))
    with stop_signals() as stop:
        try:
            Schedule(
                plan=plan,
                attempt=_attempt(place, endpoint, passphrase_file, keep_days),
                stop=stop.event,
            ).run(_newest(place, endpoint))
        except StopRequested:
            return


def _attempt(
    place: str, endpoint: str, passphrase_file: Path | None, keep_days: float
) -> Callable[[], None]:
    def attempt() -> None:
        try:
            report = backup_jobs.make_backup(
                place,
                endpoint=endpoint,
                passphrase_file=passphrase_file,
                is_full=False,
                watch=Watch(),
            )
            say(f"slipway: backup {report.manifest.name} made in {report.duration_s:.1f} s")
            prune(open_place(place, endpoint), keep_days=keep_days)
        except PlatformError as error:
            say(f"slipway: {error.message}")
            raise

    return attempt


def _newest(place: str, endpoint: str) -> datetime | None:
    try:
        names = complete_names(open_place(place, endpoint))
    except PlatformError as error:
        # It may come back; the attempt that is due then will tell.
        say(f"slipway: {error.message}")
        return None
    return moment_of(names[-1]) if names else None


def _time_of(text: str) -> time:
    try:
        return datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007 - a time of day, in UTC
    except ValueError as error:
        raise typer.BadParameter("write a time of day as 02:00", param_hint="--at") from error


def _period_of(text: str) -> timedelta:
    try:
        period = timedelta(seconds=parse_age_s(text))
    except InsecureSettings as error:
        raise typer.BadParameter("write for example 5 minutes", param_hint="--every") from error
    if period < SHORTEST:
        raise typer.BadParameter("5 minutes is the shortest", param_hint="--every")
    return period

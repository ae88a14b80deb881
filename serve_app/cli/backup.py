"""``slipway backup``: make, list, verify, restore and prune backups; or make them by the clock."""

import typer

from cluster.backup.catalogue import complete_names, find_backups, read_manifest
from cluster.backup.create import BackupReport
from cluster.backup.destination import Destination
from cluster.backup.faults import BackupCorrupt
from cluster.backup.retention import KEEP_DAYS, Pruned, prune
from cluster.backup.streams import Watch
from cluster.backup.verify import Verdict, Verifier
from cluster.contracts import JsonObject
from serve_app.cli import backup_jobs, backup_restore, backup_schedule
from serve_app.cli.backup_options import (
    Endpoint,
    Full,
    KeepDays,
    Name,
    PassphraseFile,
    Place,
    open_place,
)
from serve_app.cli.output import AsJson, emit, say, table
from serve_app.cli.progress import progress_bar

commands = typer.Typer(no_args_is_help=True, help="Make, verify and restore backups.")
COLUMNS = ("name", "created_at", "size_bytes", "artifacts", "encrypted", "state")


def register(app: typer.Typer) -> None:
    """Add ``slipway backup``."""
    commands.command()(backup_restore.restore)
    commands.command()(backup_schedule.schedule)
    app.add_typer(commands, name="backup")


@commands.command()
def create(
    place: Place,
    passphrase_file: PassphraseFile = None,
    full: Full = False,
    endpoint: Endpoint = "",
    as_json: AsJson = False,
) -> None:
    """Make a backup; exit code 1 and an ERROR in the log if there is none in the end."""
    with progress_bar() as report_progress:
        report = backup_jobs.make_backup(
            place,
            endpoint=endpoint,
            passphrase_file=passphrase_file,
            is_full=full,
            watch=Watch(progress=report_progress),
        )
    emit(_made(report), [_made_line(report)], as_json=as_json)


@commands.command("list")
def list_backups(place: Place, endpoint: Endpoint = "", as_json: AsJson = False) -> None:
    """List the backups that lie there, oldest first."""
    destination = open_place(place, endpoint)
    items = [_listed(destination, name) for name in complete_names(destination)]
    for found in find_backups(destination):
        if found.is_incomplete:
            say(f"{found.name} was not ended: the next backup clears it up")
    emit({"backups": items}, table(items, COLUMNS), as_json=as_json)


@commands.command()
def verify(
    place: Place,
    name: Name = None,
    passphrase_file: PassphraseFile = None,
    endpoint: Endpoint = "",
    as_json: AsJson = False,
) -> None:
    """Read every byte of every backup, or of the one that --name names; exit code 1 on damage."""
    destination = open_place(place, endpoint)
    keys = backup_jobs.read_keys(passphrase_file)
    with progress_bar() as report_progress:
        verifier = Verifier(
            destination=destination, keys=keys, watch=Watch(progress=report_progress)
        )
        verdicts = verifier.verify_all() if name is None else [verifier.verify(name)[0]]
    is_good = all(verdict.is_good for verdict in verdicts)
    document = {"ok": is_good, "backups": [_judged(verdict) for verdict in verdicts]}
    emit(document, [line for v in verdicts for line in _verdict_lines(v)], as_json=as_json)
    if not is_good:
        raise typer.Exit(1)


@commands.command("prune")
def prune_backups(
    place: Place, keep_days: KeepDays = KEEP_DAYS, endpoint: Endpoint = "", as_json: AsJson = False
) -> None:
    """Delete backups older than --keep-days, but never the newest."""
    pruned = prune(open_place(place, endpoint), keep_days=keep_days)
    document: JsonObject = {
        "deleted": list(pruned.backups),
        "files": pruned.files,
        "size_bytes": pruned.size_bytes,
        "left": pruned.left,
    }
    emit(document, [_pruned_line(pruned)], as_json=as_json)


def _listed(destination: Destination, name: str) -> JsonObject:
    try:
        manifest = read_manifest(destination, name)
    except BackupCorrupt as error:
        return {"name": name, "state": f"damaged: {error.message}"}
    return {
        "name": name,
        "created_at": manifest.created_at,
        "size_bytes": manifest.size_bytes,
        "artifacts": len(manifest.artifacts),
        "encrypted": manifest.key is not None,
        "state": "complete",
    }


def _made(report: BackupReport) -> JsonObject:
    manifest = report.manifest
    return {
        "name": manifest.name,
        "destination": report.destination,
        "created_at": manifest.created_at,
        "size_bytes": manifest.size_bytes,
        "artifacts": len(manifest.artifacts),
        "new_files": report.new_files,
        "new_bytes": report.new_bytes,
        "rows": manifest.rows,
        "encrypted": manifest.key is not None,
        "duration_s": round(report.duration_s, 3),
    }


def _made_line(report: BackupReport) -> str:
    manifest = report.manifest
    return (
        f"{manifest.name}: {manifest.size_bytes} bytes, {len(manifest.artifacts)} model files "
        f"({report.new_files} new) in {report.duration_s:.1f} s"
    )


def _judged(verdict: Verdict) -> JsonObject:
    return {
        "name": verdict.name,
        "ok": verdict.is_good,
        "files": verdict.files,
        "size_bytes": verdict.size_bytes,
        "damages": [{"path": d.path, "message": d.message} for d in verdict.damages],
    }


def _verdict_lines(verdict: Verdict) -> list[str]:
    if verdict.is_good:
        return [f"{verdict.name}: good, {verdict.files} files, {verdict.size_bytes} bytes"]
    return [
        f"{verdict.name}: DAMAGED",
        *(f"  {damage.path}: {damage.message}" for damage in verdict.damages),
    ]


def _pruned_line(pruned: Pruned) -> str:
    line = f"{len(pruned.backups)} backups and {pruned.files} model files deleted"
    return f"{line}; model files left alone: {pruned.left}" if pruned.left else line

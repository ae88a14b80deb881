"""``slipway models gc``: the bytes of versions that were deleted more than seven days ago."""

from typing import Annotated

import typer

from cluster.artifacts import open_store
from cluster.backup.garbage import collect_garbage
from serve_app.cli import models
from serve_app.cli.backup_jobs import garbage_source
from serve_app.cli.output import AsJson, emit


def register(_app: typer.Typer) -> None:
    """Add ``slipway models gc``; after ``models`` itself."""
    models.commands.command("gc")(collect)


def collect(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete stored files that no version has needed for seven days; never during a backup."""
    with garbage_source() as (source, settings):
        found = collect_garbage(source, open_store(settings), is_rehearsal=dry_run)
    verb = "would be deleted" if dry_run else "deleted"
    emit(
        {"files": found.files, "size_bytes": found.size_bytes, "dry_run": dry_run},
        [f"{found.files} files, {found.size_bytes} bytes {verb}"],
        as_json=as_json,
    )

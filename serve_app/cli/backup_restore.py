"""``slipway backup restore``: a backup back in place, compared with what it should be."""

from typing import Annotated

import typer

from cluster.backup.restore import RestoreReport
from cluster.backup.streams import Watch
from cluster.contracts import JsonObject
from cluster.errors import PlatformError
from serve_app.cli import backup_jobs
from serve_app.cli.backup_options import Endpoint, Name, PassphraseFile, Place, open_place
from serve_app.cli.backup_replay import Replayed
from serve_app.cli.output import AsJson, emit, say
from serve_app.cli.progress import progress_bar

#: Differences told in one sentence; the JSON document has all.
TOLD_MAX = 3


def restore(
    place: Place,
    name: Name = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a database that holds something.")
    ] = False,
    revoke_keys: Annotated[
        bool, typer.Option("--revoke-keys", help="Revoke every API key as well.")
    ] = False,
    passphrase_file: PassphraseFile = None,
    endpoint: Endpoint = "",
    as_json: AsJson = False,
) -> None:
    """Verify the newest backup, or --name, and restore it; sessions end, API keys work on."""
    with progress_bar() as report_progress:
        report, replayed = backup_jobs.bring_back(
            open_place(place, endpoint),
            backup_jobs.read_keys(passphrase_file),
            name=name,
            is_overwriting=overwrite,
            is_revoking_keys=revoke_keys,
            watch=Watch(progress=report_progress),
        )
    if report.kept_database:
        say(f"what was there before is kept as the database {report.kept_database}: drop it later")
    emit(_document(report, replayed), [sentence(report, replayed)], as_json=as_json)
    if replayed.differences:
        raise PlatformError(
            f"everything is restored, but {len(replayed.differences)} versions do not answer as "
            "they did when they were uploaded: " + "; ".join(replayed.differences[:TOLD_MAX])
        )


def _document(report: RestoreReport, replayed: Replayed) -> JsonObject:
    manifest, settled = report.manifest, report.settled
    return {
        "name": manifest.name,
        "created_at": manifest.created_at,
        "rows": manifest.rows,
        "artifacts": len(manifest.artifacts),
        "size_bytes": manifest.size_bytes,
        "sessions_ended": settled.sessions_ended,
        "keys_revoked": settled.keys_revoked,
        "migrated": list(settled.migrated),
        "kept_database": report.kept_database,
        "replayed": vars(replayed),
        "duration_s": round(report.duration_s, 3),
    }


def sentence(report: RestoreReport, replayed: Replayed) -> str:
    """What a person is told; versions that were not asked again too."""
    manifest = report.manifest
    skipped = f" ({replayed.skipped} skipped)" if replayed.skipped else ""
    return (
        f"{manifest.name} is restored: {sum(manifest.rows.values())} rows, "
        f"{len(manifest.artifacts)} model files; {replayed.predictions} recorded predictions of "
        f"{replayed.versions} versions compared{skipped}, "
        f"{report.settled.sessions_ended} sessions ended"
    )

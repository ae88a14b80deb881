"""Arguments that the commands of ``slipway backup`` share."""

from pathlib import Path
from typing import Annotated

import typer

from cluster.backup.destination import Destination, open_destination
from serve_app.cli import local

Place = Annotated[
    str, typer.Argument(metavar="DIR", help="A directory, or s3://<bucket>/<prefix>.")
]
Endpoint = Annotated[
    str,
    typer.Option(
        "--endpoint",
        envvar="BACKUP_S3_ENDPOINT",
        help="Of an S3-compatible store; default: ARTIFACT_STORE_ENDPOINT.",
    ),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        envvar="BACKUP_PASSPHRASE_FILE",
        help="Its first and only line encrypts and authenticates.",
    ),
]
Name = Annotated[
    str | None, typer.Option("--name", help="One backup, as `list` names it; default: see above.")
]
KeepDays = Annotated[float, typer.Option("--keep-days", min=0, help="Days to keep backups.")]
Full = Annotated[
    bool, typer.Option("--full", help="Copy model files again that are there already.")
]


def open_place(place: str, endpoint: str) -> Destination:
    """The destination that the arguments name."""
    return open_destination(place, local.local_settings(), endpoint=endpoint)

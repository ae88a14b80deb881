"""The outcome of a backup, told to whoever watches: the log, the status file, the metric."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from cluster.backup.create import BackupReport
from cluster.backup.faults import BackupFailed
from cluster.backup.status import note_failure, note_success
from cluster.errors import PlatformError

logger = logging.getLogger(__name__)


@contextmanager
def loud_failure(home: Path) -> Iterator[None]:
    """
    Whatever goes wrong in the body is an ERROR in the log and a note in the status file.

    Raises:
        PlatformError: As the body does; BackupFailed for what nobody foresaw.
    """
    begun_at = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        yield
    except PlatformError as error:
        logger.error(  # noqa: TRY400 - the sentence says it all; a traceback would only hide it
            "no backup was made: %s", error.message, extra={"action": "backup_failed"}
        )
        note_failure(home, at=begun_at, sentence=error.message)
        raise
    except Exception as error:
        sentence = f"the backup failed unexpectedly ({type(error).__name__})"
        logger.exception(sentence, extra={"action": "backup_failed"})
        note_failure(home, at=begun_at, sentence=sentence)
        raise BackupFailed(f"{sentence}: the log has the details") from error


def tell_success(home: Path, report: BackupReport) -> None:
    """Note a backup that was made."""
    manifest = report.manifest
    note_success(
        home,
        begun_at=manifest.created_at,
        name=manifest.name,
        destination=report.destination,
        size_bytes=manifest.size_bytes,
        duration_s=report.duration_s,
    )
    logger.info(
        "backup %s made in %.1f s, %d bytes",
        manifest.name,
        report.duration_s,
        manifest.size_bytes,
        extra={"action": "backup_made", "backup": manifest.name},
    )

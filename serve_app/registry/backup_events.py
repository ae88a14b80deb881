"""Backups as events of the audit trail, where every replica learns how old the last one is."""

from datetime import datetime

from sqlalchemy import DateTime, func, select
from sqlalchemy.orm import Session

from cluster.backup.create import BackupReport
from serve_app.registry import audit
from serve_app.registry.backup_rows import connected
from serve_app.registry.tables import AuditEvent

MADE = "backup.make"
#: A restored registry is older than the note of the backup it came from, which is as good.
RESTORED = "backup.restore"


def record_backup(url: str, report: BackupReport) -> None:
    """
    Note a backup that was made; backups themselves hold the notes of those before them.

    Raises:
        RegistryUnavailable: If the server cannot be reached.
    """
    manifest = report.manifest
    with connected(url, "slipway-backup") as connection, Session(connection) as session:
        audit.record(
            session,
            actor="cli",
            action=MADE,
            target_type="backup",
            target_id=manifest.name,
            details={
                "created_at": manifest.created_at,
                "size_bytes": manifest.size_bytes,
                "duration_s": round(report.duration_s, 3),
            },
        )
        session.commit()


def find_last_backup(session: Session) -> datetime | None:
    """When the last good backup was begun; ``None`` if none was ever noted."""
    begun_at = AuditEvent.details["created_at"].astext.cast(DateTime(timezone=True))
    found: datetime | None = session.scalar(
        select(func.max(begun_at)).where(AuditEvent.action.in_((MADE, RESTORED)))
    )
    return found

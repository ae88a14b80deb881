"""
How the last backup went, in ``<home>/backup-status.json`` for whoever watches.

    {"last_good_at", "last_good_name", "destination", "last_attempt_at", "last_error", …}
"""

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from cluster.private_files import write_private

FILE = "backup-status.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupStatus:
    """What is known of this home's backups; times are RFC 3339 in UTC."""

    last_good_at: str | None = None
    last_good_name: str | None = None
    destination: str | None = None
    size_bytes: int | None = None
    duration_s: float | None = None
    last_attempt_at: str | None = None
    #: The sentence of the last attempt, if it failed.
    last_error: str | None = None

    def age_s(self, now: datetime | None = None) -> float | None:
        """Seconds since the last good backup was begun; ``None`` without one."""
        if self.last_good_at is None:
            return None
        age = (now or datetime.now(UTC)) - datetime.fromisoformat(self.last_good_at)
        return age.total_seconds()


def read_status(home: Path) -> BackupStatus:
    """What the file says; nothing is known without one."""
    try:
        document = json.loads((home / FILE).read_text(encoding="utf-8"))
        return BackupStatus(**document)
    except (OSError, ValueError, TypeError):
        return BackupStatus()


def note_success(
    home: Path,
    *,
    begun_at: str,
    name: str,
    destination: str,
    size_bytes: int,
    duration_s: float,
) -> None:
    """Record a backup that was made."""
    _write(
        home,
        BackupStatus(
            last_good_at=begun_at,
            last_good_name=name,
            destination=destination,
            size_bytes=size_bytes,
            duration_s=round(duration_s, 3),
            last_attempt_at=begun_at,
        ),
    )


def note_failure(home: Path, *, at: str, sentence: str) -> None:
    """Record an attempt that failed; what is known of the last good one stays."""
    _write(home, replace(read_status(home), last_attempt_at=at, last_error=sentence))


def _write(home: Path, status: BackupStatus) -> None:
    write_private(home / FILE, json.dumps(asdict(status), indent=1) + "\n")

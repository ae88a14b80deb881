"""What can go wrong with a backup, in words for the operator."""

from dataclasses import dataclass

from cluster.errors import PlatformError


class BackupFailed(PlatformError):
    """The backup or the restore was not made; what was there before is untouched."""

    code = "backup_failed"


class BackupRefused(BackupFailed):
    """It would overwrite or disturb something; the sentence says what to do first."""

    code = "backup_refused"


class BackupCorrupt(BackupFailed):
    """Bytes of a backup are missing, changed or not made with this passphrase."""

    code = "backup_corrupt"


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
    """One thing wrong with a stored backup."""

    #: Key below the destination.
    path: str
    message: str

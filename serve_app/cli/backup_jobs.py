"""Backups and restores of this directory's platform, put together from its settings."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.artifacts import open_store
from cluster.backup.attempt import loud_failure, tell_success
from cluster.backup.create import BackupJob, BackupReport, create_backup
from cluster.backup.crypt import Keys
from cluster.backup.destination import Destination, open_destination
from cluster.backup.faults import BackupRefused
from cluster.backup.restore import RestoreJob, RestoreReport, restore_backup
from cluster.backup.streams import Watch
from cluster.error_tracking import configure_error_tracking
from cluster.errors import PlatformError
from cluster.logs import configure_logging
from cluster.private_files import write_private
from cluster.run_record import exclusive
from cluster.serve_config import ConfigUnusable, find_config
from cluster.setting_sources import SECRET_NAMES
from cluster.settings import Settings
from serve_app.cli import local
from serve_app.cli.backup_replay import Replayed, replay_recorded
from serve_app.registry.backup_events import record_backup
from serve_app.registry.backup_rows import BackupRows
from serve_app.registry.restore_rows import RestoreRows

logger = logging.getLogger(__name__)


def make_backup(
    place: str, *, endpoint: str, passphrase_file: Path | None, is_full: bool, watch: Watch
) -> BackupReport:
    """
    One backup to ``place``; its outcome is logged and noted, whatever it is.

    Raises:
        PlatformError: No backup was made.
    """
    settings = local.local_settings()
    configure_logging(settings, "backup")
    configure_error_tracking(settings, "backup")
    with loud_failure(settings.slipway_home), local.database_url(settings) as url:
        job = BackupJob(
            source=BackupRows(url),
            store=open_store(settings),
            destination=open_destination(place, settings, endpoint=endpoint),
            keys=read_keys(passphrase_file),
            configuration=configuration_of(settings),
            slipway_version=settings.version,
            is_full=is_full,
        )
        report = create_backup(job, watch=watch)
        tell_success(settings.slipway_home, report)
        _note_in_registry(url, report)
        return report


def _note_in_registry(url: str, report: BackupReport) -> None:
    try:
        record_backup(url, report)
    except PlatformError as error:
        # The backup is whole all the same; its age will be told too old rather than too young.
        logger.warning("the backup was made and could not be noted: %s", error.message)


def bring_back(
    destination: Destination,
    keys: Keys,
    *,
    name: str | None,
    is_overwriting: bool,
    is_revoking_keys: bool,
    watch: Watch,
) -> tuple[RestoreReport, Replayed]:
    """
    Restore into this directory's platform, which must not run, and ask its models again.

    Raises:
        PlatformError: Nothing was restored.
    """
    settings = local.local_settings()
    configure_logging(settings, "backup")
    configure_error_tracking(settings, "backup")
    with exclusive(settings.slipway_home), local.database_url(settings) as url:
        store = open_store(settings)
        job = RestoreJob(
            target=RestoreRows(url),
            store=store,
            destination=destination,
            keys=keys,
            name=name,
            is_overwriting=is_overwriting,
            is_revoking_keys=is_revoking_keys,
        )
        report = restore_backup(job, watch=watch)
        _keep_configuration(settings.slipway_home, report)
        return report, replay_recorded(url, store, settings)


@contextmanager
def garbage_source() -> Iterator[tuple[BackupRows, Settings]]:
    """The registry as the collection of garbage asks it, and the settings of its store."""
    settings = local.local_settings()
    with local.database_url(settings) as url:
        yield BackupRows(url), settings


def read_keys(passphrase_file: Path | None) -> Keys:
    """
    The keys that the passphrase in the file makes; none without a file.

    Raises:
        BackupRefused: The file cannot be read, or what it holds is too short.
    """
    if passphrase_file is None:
        return Keys(None)
    try:
        return Keys(passphrase_file.read_text(encoding="utf-8").rstrip("\r\n"))
    except (OSError, UnicodeDecodeError) as error:
        raise BackupRefused(f"the passphrase file {passphrase_file} cannot be read") from error


def configuration_of(settings: Settings) -> dict[str, str]:
    """Settings without secrets, and the files they name, by file name."""
    secret = {name.lower() for name in SECRET_NAMES}
    values = settings.model_dump(mode="json", exclude=secret)
    given = [name for name in SECRET_NAMES if getattr(settings, name.lower()) is not None]
    files = {"settings.json": json.dumps(values | {"secrets_given": given}, indent=1)}
    if settings.intake_extra_names is not None and settings.intake_extra_names.is_file():
        files["intake_extra_names"] = settings.intake_extra_names.read_text(encoding="utf-8")
    try:
        files["serve_config.yaml"] = find_config().read_text(encoding="utf-8")
    except (ConfigUnusable, OSError):
        return files
    return files


def _keep_configuration(home: Path, report: RestoreReport) -> None:
    for name, content in report.configuration.items():
        write_private(home / "restored" / report.manifest.name / Path(name).name, content)

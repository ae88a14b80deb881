"""Backup and restore between real databases."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select

from cluster.backup.crypt import Keys
from cluster.backup.destination import open_destination
from cluster.backup.destination_files import DirectoryDestination
from cluster.backup.faults import BackupRefused
from cluster.backup.restore import restore_backup
from cluster.settings import Settings
from serve_app.registry.key_identities import find_key
from serve_app.registry.sessions import find_session
from serve_app.registry.tables import ApiKey, Change, RefreshFamily, User
from tests.integration.backup.conftest import VERSIONS
from tests.integration.backup.platforms import PASSPHRASE, Platform
from tests.s3 import s3_server

UNCHANGED = ("models", "model_versions", "api_keys", "model_aliases")


def test_a_restored_platform_has_the_same_rows_and_files(
    platform: Platform, empty_host: Platform, destination: DirectoryDestination
) -> None:
    platform.back_up(destination)

    report = restore_backup(empty_host.restoring(destination))

    assert empty_host.dump_of(*UNCHANGED) == platform.dump_of(*UNCHANGED)
    assert empty_host.unreadable() == []
    assert report.manifest.rows["model_versions"] == VERSIONS
    assert report.kept_database is None


def test_an_encrypted_backup_restores_and_holds_nothing_in_clear(
    platform: Platform, empty_host: Platform, destination: DirectoryDestination
) -> None:
    platform.back_up(destination, keys=Keys(PASSPHRASE))

    restore_backup(empty_host.restoring(destination, keys=Keys(PASSPHRASE)))

    stored = [path.read_bytes() for path in Path(destination.name).rglob("*") if path.is_file()]
    assert empty_host.dump_of(*UNCHANGED) == platform.dump_of(*UNCHANGED)
    assert not any(b"you@example.org" in content for content in stored)


def test_a_backup_in_s3_restores(
    platform: Platform, empty_host: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3 = pytest.importorskip("boto3")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with s3_server() as endpoint:
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        client.create_bucket(Bucket="backups")
        settings = Settings(_env_file=None, slipway_home=tmp_path)
        bucket = open_destination("s3://backups/here", settings, endpoint=endpoint)
        platform.back_up(bucket, keys=Keys(PASSPHRASE))

        restore_backup(empty_host.restoring(bucket, keys=Keys(PASSPHRASE)))

    assert empty_host.dump_of(*UNCHANGED) == platform.dump_of(*UNCHANGED)
    assert empty_host.unreadable() == []


def test_a_restore_ends_sessions_and_lets_keys_work_on(
    platform: Platform, empty_host: Platform, destination: DirectoryDestination
) -> None:
    platform.back_up(destination)

    report = restore_backup(empty_host.restoring(destination))

    with empty_host.session() as session:
        key = session.scalars(select(ApiKey)).one()
        identity = find_key(session, key.key_sha256)
        family = session.scalars(select(RefreshFamily)).one()
        seen = find_session(session, user_id=str(family.user_id), family_id=str(family.id))
        epoch = session.scalars(select(User.session_epoch)).one()
    assert identity is not None
    assert not identity.is_revoked
    assert seen is not None
    assert seen.is_revoked
    assert epoch == 1
    assert (report.settled.sessions_ended, report.settled.keys_revoked) == (1, 0)


def test_a_restore_revokes_keys_if_asked(
    platform: Platform, empty_host: Platform, destination: DirectoryDestination
) -> None:
    platform.back_up(destination)

    restore_backup(empty_host.restoring(destination, is_revoking_keys=True))

    with empty_host.session() as session:
        assert session.scalars(select(ApiKey).where(ApiKey.revoked_at.is_(None))).all() == []


def test_sequences_after_a_restore_are_later_than_any_before(
    platform: Platform, empty_host: Platform, destination: DirectoryDestination
) -> None:
    platform.back_up(destination)
    before_ms = int(datetime.now(UTC).timestamp() * 1000)

    restore_backup(empty_host.restoring(destination, is_revoking_keys=True))

    with empty_host.session() as session:
        newest = session.scalar(select(func.max(Change.sequence)))
    assert newest is not None
    assert newest >= before_ms


def test_a_restore_refuses_to_overwrite_unless_told(
    platform: Platform, database_url: str, destination: DirectoryDestination, tmp_path: Path,
    make_occupied: Callable[[], Platform],
) -> None:  # fmt: skip
    platform.back_up(destination)
    occupied = make_occupied()

    with pytest.raises(BackupRefused, match="--overwrite"):
        restore_backup(occupied.restoring(destination))

    assert occupied.emails() == ["old@example.org"]


def test_what_was_overwritten_is_kept_under_another_name(
    platform: Platform, destination: DirectoryDestination, make_occupied: Callable[[], Platform]
) -> None:
    platform.back_up(destination)
    occupied = make_occupied()

    report = restore_backup(occupied.restoring(destination, is_overwriting=True))

    assert occupied.emails() == ["you@example.org"]
    assert report.kept_database is not None
    url = occupied.url.rpartition("/")[0] + f"/{report.kept_database}"
    assert Platform(url=url, store=occupied.store).emails() == ["old@example.org"]


def test_a_restore_refuses_while_somebody_uses_the_database(
    platform: Platform, destination: DirectoryDestination, make_occupied: Callable[[], Platform]
) -> None:
    platform.back_up(destination)
    occupied = make_occupied()

    with occupied.session() as session:
        session.scalar(select(1))
        with pytest.raises(BackupRefused, match="in use"):
            restore_backup(occupied.restoring(destination, is_overwriting=True))

    assert occupied.emails() == ["old@example.org"]

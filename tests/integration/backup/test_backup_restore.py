"""Backup and restore between real databases."""

import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select

from cluster.backup.catalogue import complete_names
from cluster.backup.crypt import Keys
from cluster.backup.destination import open_destination
from cluster.backup.destination_files import DirectoryDestination
from cluster.backup.faults import BackupFailed, BackupRefused
from cluster.backup.garbage import collect_garbage
from cluster.backup.restore import restore_backup
from cluster.backup.streams import Watch
from cluster.backup.verify import Verifier
from cluster.settings import Settings
from serve_app.registry.backup_rows import BackupRows
from serve_app.registry.keys import find_key
from serve_app.registry.sessions import find_session
from serve_app.registry.tables import ApiKey, Change, Model, ModelVersion, RefreshFamily, User
from tests.integration.backup.conftest import VERSIONS
from tests.integration.backup.platforms import PASSPHRASE, Platform, platform_at
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


def test_a_second_backup_copies_only_what_is_new(
    platform: Platform, destination: DirectoryDestination
) -> None:
    first = platform.back_up(destination, keys=Keys(PASSPHRASE))

    second = platform.back_up(destination, keys=Keys(PASSPHRASE))

    assert first.new_files == VERSIONS
    assert second.new_files == 0
    assert len(second.manifest.artifacts) == VERSIONS
    assert len(set(complete_names(destination))) == 2


def test_a_full_backup_mends_a_rotten_file_of_the_pool(
    platform: Platform, destination: DirectoryDestination
) -> None:
    platform.back_up(destination)
    rotten = next(path for path in Path(destination.name, "objects").rglob("*") if path.is_file())
    rotten.write_bytes(b"?" * rotten.stat().st_size)
    verifier = Verifier(destination=destination, keys=Keys(None))
    before = [verdict.is_good for verdict in verifier.verify_all()]

    platform.back_up(destination, is_full=True)

    after = Verifier(destination=destination, keys=Keys(None)).verify_all()
    assert before == [False]
    assert [verdict.is_good for verdict in after] == [True, True]


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


def test_a_backup_under_write_load_is_consistent(
    empty_host: Platform, destination: DirectoryDestination, make_occupied: Callable[[], Platform]
) -> None:
    busy = make_occupied()
    stop, has_begun = threading.Event(), threading.Event()
    failures: list[Exception] = []
    written = 0

    def write() -> None:
        nonlocal written
        try:
            with busy.session() as session:
                model = session.scalars(select(Model)).one()
                while not stop.is_set():
                    number = 100 + written
                    content = f"load {number}".encode() * 1000
                    busy.add_version(session, model.id, model.owner_id, number, content)
                    session.commit()
                    written += 1
                    if written > 3:
                        has_begun.set()
        except Exception as error:  # noqa: BLE001 - told to the test below
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    assert has_begun.wait(30)
    at_begin = written
    report = busy.back_up(destination)
    at_end = written
    stop.set()
    writer.join()

    restore_backup(empty_host.restoring(destination))

    with empty_host.session() as session:
        versions = session.scalar(select(func.count()).select_from(ModelVersion))
    assert failures == []
    assert at_end > at_begin  # it was written to meanwhile
    assert versions == report.manifest.rows["model_versions"]
    assert at_begin <= (versions or 0) <= at_end + 2
    assert empty_host.unreadable() == []


def test_two_backups_at_once_are_refused(
    platform: Platform, destination: DirectoryDestination, tmp_path: Path
) -> None:
    elsewhere = DirectoryDestination(tmp_path / "elsewhere")
    with BackupRows(platform.url).exclusive(), pytest.raises(BackupRefused, match="another backup"):
        platform.back_up(elsewhere)

    assert complete_names(elsewhere) == []


def test_garbage_is_not_collected_during_a_backup(
    platform: Platform, destination: DirectoryDestination
) -> None:
    refusals = []

    def collect(step: str) -> None:
        if step == "notes":
            with pytest.raises(BackupRefused) as refusal:
                collect_garbage(BackupRows(platform.url), platform.store, keep_s=0)
            refusals.append(refusal.value)

    platform.back_up(destination, watch=Watch(at=collect))

    assert len(refusals) == 1
    assert platform.unreadable() == []


def test_garbage_is_what_no_version_needed_for_a_week(
    make_occupied: Callable[[], Platform],
) -> None:
    host = make_occupied()
    with host.session() as session:
        model = session.scalars(select(Model)).one()
        arguments = (session, model.id, model.owner_id)
        recent = host.add_version(*arguments, 50, b"recent", deleted_days_ago=6)
        old = host.add_version(*arguments, 51, b"old", deleted_days_ago=8)
        session.commit()

    collected = collect_garbage(BackupRows(host.url), host.store, keep_s=-1)

    assert collected.files == 1
    assert host.store.has(recent)
    assert not host.store.has(old)


def test_a_lost_model_file_fails_the_backup_by_name(
    destination: DirectoryDestination, make_occupied: Callable[[], Platform]
) -> None:
    host = make_occupied()
    with host.session() as session:
        sha256 = session.scalars(select(ModelVersion.sha256)).first()
    assert sha256 is not None
    host.store.delete(sha256)

    with pytest.raises(BackupFailed, match=sha256):
        host.back_up(destination)

    assert complete_names(destination) == []


@pytest.fixture
def make_occupied(
    postgres_server: str, _template_database: str, tmp_path: Path
) -> Callable[[], Platform]:
    """Makes a platform with one account and two versions of its own."""
    from tests.integration.backup.platforms import clone

    def make() -> Platform:
        name = f"occupied_{uuid.uuid4().hex[:12]}"
        host = platform_at(clone(postgres_server, name, _template_database), tmp_path / name)
        host.fill("old@example.org", versions=2)
        return host

    return make

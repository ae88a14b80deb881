"""What a backup takes in, what runs beside it, and what it may not delete."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from cluster.backup.catalogue import complete_names
from cluster.backup.crypt import Keys
from cluster.backup.destination_files import DirectoryDestination
from cluster.backup.faults import BackupFailed, BackupRefused
from cluster.backup.garbage import collect_garbage
from cluster.backup.restore import restore_backup
from cluster.backup.streams import Watch
from cluster.backup.verify import Verifier
from serve_app.registry.backup_rows import BackupRows
from serve_app.registry.tables import Model, ModelVersion
from tests.integration.backup.conftest import VERSIONS
from tests.integration.backup.platforms import PASSPHRASE, Platform


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

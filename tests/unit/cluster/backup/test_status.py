"""The status file, for people and for the health check of the backup process."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from cluster.backup.attempt import loud_failure
from cluster.backup.faults import BackupFailed
from cluster.backup.status import note_success, read_status

BEGUN = "2026-11-23T02:00:00+00:00"


def good(home: Path) -> None:
    note_success(
        home, begun_at=BEGUN, name="n", destination="/backups", size_bytes=1, duration_s=2.0
    )


def test_the_age_is_that_of_the_last_good_backup(tmp_path: Path) -> None:
    good(tmp_path)

    age_s = read_status(tmp_path).age_s(datetime(2026, 11, 23, 2, 1, tzinfo=UTC))

    assert age_s == 60


def test_a_failure_keeps_what_is_known_of_the_last_good_one(tmp_path: Path) -> None:
    good(tmp_path)

    with pytest.raises(BackupFailed), loud_failure(tmp_path):
        raise BackupFailed("no room")

    status = read_status(tmp_path)
    assert status.last_good_at == BEGUN
    assert status.last_error == "no room"


def test_a_failure_is_an_error_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(BackupFailed, match="ZeroDivisionError"), loud_failure(tmp_path):
        raise ZeroDivisionError

    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert caplog.records[0].__dict__["action"] == "backup_failed"


def test_a_home_without_backups_has_no_age(tmp_path: Path) -> None:
    assert read_status(tmp_path).age_s() is None


def test_a_status_file_that_is_none_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "backup-status.json").write_text("{", encoding="utf-8")

    assert read_status(tmp_path).last_good_at is None

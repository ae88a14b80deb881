"""Who runs a home: one at a time, and recognised by more than a pid."""

import os
from pathlib import Path

import pytest

from cluster.run_record import (
    AlreadyRunning,
    RunRecord,
    clear_record,
    exclusive,
    find_record,
    own_identity,
    write_record,
)


def record(pid: int, created_s: float) -> RunRecord:
    return RunRecord(
        pid=pid,
        created_s=created_s,
        url="http://127.0.0.1:8000",
        dashboard_url="http://127.0.0.1:8265",
        phase="running",
    )


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_record(tmp_path, record(1, 2.5))

    assert find_record(tmp_path) == record(1, 2.5)


def test_a_cleared_or_broken_record_is_none(tmp_path: Path) -> None:
    write_record(tmp_path, record(1, 2.5))
    clear_record(tmp_path)
    assert find_record(tmp_path) is None

    (tmp_path / "run.json").write_text("{")
    assert find_record(tmp_path) is None


def test_the_launcher_is_found_while_it_lives() -> None:
    found = record(*own_identity()).find_launcher()

    assert found is not None
    assert found.pid == os.getpid()


def test_a_pid_that_was_given_away_is_not_the_launcher() -> None:
    pid, created_s = own_identity()

    assert record(pid, created_s - 100).find_launcher() is None


def test_a_home_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    write_record(tmp_path, record(*own_identity()))

    with (
        exclusive(tmp_path),
        pytest.raises(AlreadyRunning, match=r"runs already .*`slipway down`"),
        exclusive(tmp_path),
    ):
        pass


def test_a_home_is_free_again_afterwards(tmp_path: Path) -> None:
    with exclusive(tmp_path):
        pass

    with exclusive(tmp_path):
        assert (tmp_path / "run.lock").exists()

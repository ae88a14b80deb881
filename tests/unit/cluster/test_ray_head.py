"""The head's command line, its directory, and whom it takes for its own."""

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cluster.ray_head import (
    HeadRecord,
    RayHead,
    RayPorts,
    end_remains,
    remains,
    temporary_directory,
)

PORTS = RayPorts(gcs=6380, dashboard=8265, agent=18000, client=18001)


@pytest.fixture
def session() -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads a session with a child in it, as ``ray start`` does."""
    program = "import subprocess, sys; subprocess.Popen(['sleep', '60']); print(1, flush=True);"
    child = subprocess.Popen(
        [sys.executable, "-c", program + " sys.stdin.read()"],
        start_new_session=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    child.stdout.readline()
    yield child
    for process in psutil.Process(child.pid).children() if psutil.pid_exists(child.pid) else []:
        process.kill()
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()


def noted(child: subprocess.Popen[bytes]) -> HeadRecord:
    return HeadRecord(pid=child.pid, created_s=psutil.Process(child.pid).create_time())


def test_the_head_is_on_loopback_with_a_directory_of_its_own(tmp_path: Path) -> None:
    head = RayHead(home=tmp_path, temporary=tmp_path / "t", ports=PORTS, environment={})
    command = " ".join(head.command())

    assert "--node-ip-address 127.0.0.1" in command
    assert "--dashboard-host 127.0.0.1" in command
    assert f"--temp-dir {tmp_path / 't'}" in command
    assert "--port 6380" in command


def test_a_homes_directory_is_private_and_the_same_each_time(tmp_path: Path) -> None:
    path = temporary_directory(tmp_path)
    try:
        assert temporary_directory(tmp_path) == path
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert temporary_directory(tmp_path / "other") != path
    finally:
        for made in (path, temporary_directory(tmp_path / "other")):
            (made / "h").rmdir()
            made.rmdir()


def test_the_session_of_the_noted_head_is_ours(
    session: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    assert session.pid in {process.pid for process in remains(tmp_path, noted(session))}
    assert len(remains(tmp_path, noted(session))) == 2


def test_a_session_whose_number_was_given_away_is_not_ours(
    session: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    stale = HeadRecord(pid=session.pid, created_s=noted(session).created_s - 100)

    assert remains(tmp_path, stale) == []


def test_what_only_names_the_directory_is_not_ours(tmp_path: Path) -> None:
    reader = subprocess.Popen(["tail", "-f", "/dev/null", str(tmp_path)], stderr=subprocess.DEVNULL)
    try:
        assert remains(tmp_path, None) == []
    finally:
        reader.kill()
        reader.wait()


def test_remains_are_ended(session: subprocess.Popen[bytes], tmp_path: Path) -> None:
    record = noted(session)

    assert end_remains(tmp_path, record) == []
    assert remains(tmp_path, record) == []

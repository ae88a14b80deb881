"""Turns that processes of one machine share."""

import fcntl
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from deployments.intake.node_turns import NodeTurns, half_the_cores
from tests.system.platform import wait_until

HOLDER = """
import sys, time
from pathlib import Path
from deployments.intake.node_turns import NodeTurns
with NodeTurns(Path(sys.argv[1]), 1).taken():
    print("held", flush=True)
    sys.stdin.read()
"""


def held(directory: Path) -> list[bool]:
    """Whether somebody holds each place."""
    return [_is_held(file) for file in sorted(directory.iterdir())]


def _is_held(file: Path) -> bool:
    place = os.open(file, os.O_RDWR)
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(place)
    return False


def test_half_of_the_cores_may_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for cores in (1, 2, 3, 8):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=cores: set(range(n)))
        found.append(half_the_cores())

    assert found == [1, 1, 1, 4]


def test_a_turn_ends_with_its_block_however_it_ends(tmp_path: Path) -> None:
    turns, seen = NodeTurns(tmp_path / "turns", 1), []

    def fail() -> None:
        with turns.taken():
            seen.extend(held(tmp_path / "turns"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert (seen, held(tmp_path / "turns")) == ([True], [False])


def test_there_are_as_many_as_places(tmp_path: Path) -> None:
    with ExitStack() as stack:
        for _ in range(3):
            # Each as a Loader of its own has it.
            stack.enter_context(NodeTurns(tmp_path / "turns", 3).taken())

        assert held(tmp_path / "turns") == [True] * 3


def test_who_finds_none_waits_for_one(tmp_path: Path) -> None:
    turns = NodeTurns(tmp_path / "turns", 1)
    order: list[str] = []

    def second() -> None:
        with NodeTurns(tmp_path / "turns", 1).taken():
            order.append("second")

    with ThreadPoolExecutor(1) as pool:
        with turns.taken():
            waiting = pool.submit(second)
            wait_until(lambda: _waits_for(tmp_path / "turns"), what="a blocked process")
            order.append("first")
        waiting.result(timeout=30)

    assert order == ["first", "second"]


def _waits_for(directory: Path) -> bool:
    """Whether the kernel has somebody who is blocked on a place."""
    inodes = {file.stat().st_ino for file in directory.iterdir()}
    lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    return any("->" in line and int(line.split()[6].split(":")[2]) in inodes for line in lines)


def test_a_process_that_is_killed_frees_its_turn(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "turns")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert held(tmp_path / "turns") == [True]
        holder.kill()

    with NodeTurns(tmp_path / "turns", 1).taken():
        assert held(tmp_path / "turns") == [True]

"""What processes leave behind that really die, each in its own way."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.black_box import KEPT_S, SLOT_BYTES, BlackBox, find_last_words, prune

ACTOR = "a1b2c3"
DYING = """
import ctypes, os, signal, sys
from pathlib import Path
from deployments.black_box import BlackBox
box = BlackBox(Path(sys.argv[1]), "a1b2c3", slots=4)
with box.executing("done/1"):
    pass
with box.executing("model/7"), box.executing("other/2"):
    {end}
"""
ENDS = {
    "segfault": "ctypes.string_at(0)",
    "bus error": "os.kill(os.getpid(), signal.SIGBUS)",
    "illegal": "os.kill(os.getpid(), signal.SIGILL)",
    "abort": "os.abort()",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "terminated": "os.kill(os.getpid(), signal.SIGTERM)",
    "exit": "os._exit(1)",
}


def die(directory: Path, end: str) -> int:
    code = DYING.format(end=ENDS[end])
    command = [sys.executable, "-c", code, str(directory)]
    return subprocess.run(command, capture_output=True, check=False).returncode


@pytest.mark.parametrize(
    ("end", "is_native_crash"),
    [
        ("segfault", True),
        ("bus error", True),
        ("illegal", True),
        # C++ ends so where memory runs out: charged to nobody.
        ("abort", False),
        ("killed", False),
        ("terminated", False),
        ("exit", False),
    ],
)
def test_a_death_names_what_was_executing_and_whether_native_code_crashed(
    end: str, *, is_native_crash: bool, tmp_path: Path
) -> None:
    assert die(tmp_path, end) != 0

    words = find_last_words(tmp_path, ACTOR)

    assert words is not None
    assert words.executing == {"model/7", "other/2"}
    assert words.is_native_crash == is_native_crash


def test_two_calls_of_one_version_are_one_suspect(tmp_path: Path) -> None:
    box = BlackBox(tmp_path, ACTOR, slots=2)
    try:
        with box.executing("m/1"), box.executing("m/1"), box.executing("unnoted/1"):
            words = find_last_words(tmp_path, ACTOR)
    finally:
        box.close()

    assert words is not None
    assert words.executing == {"m/1"}


def test_an_orderly_end_leaves_nothing(tmp_path: Path) -> None:
    box = BlackBox(tmp_path, ACTOR, slots=1)
    box.close()
    box.close()

    assert list(tmp_path.iterdir()) == []
    assert find_last_words(tmp_path, ACTOR) is None


def test_a_box_without_a_place_notes_nothing() -> None:
    box = BlackBox(None)
    with box.executing("m/1"):
        box.close()


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    box = BlackBox(tmp_path / "replicas", ACTOR, slots=1)
    try:
        modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "replicas").iterdir()}
    finally:
        box.close()

    assert modes == {0o600}


def test_the_long_dead_are_removed_and_the_living_kept(tmp_path: Path) -> None:
    die(tmp_path, "killed")
    box = BlackBox(tmp_path, "d4", slots=1)
    old = tmp_path.stat().st_mtime - 2 * KEPT_S
    for path in tmp_path.iterdir():
        os.utime(path, (old, old))
    prune(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    box.close()

    assert left == {"d4.executing", "d4.trace"}


def test_a_long_key_fills_its_slot_and_no_other(tmp_path: Path) -> None:
    box = BlackBox(tmp_path, ACTOR, slots=2)
    with box.executing("x" * 200), box.executing("m/1"):
        words = find_last_words(tmp_path, ACTOR)
    box.close()

    assert words is not None
    assert words.executing == {"x" * SLOT_BYTES, "m/1"}


def test_no_path_can_be_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="actor id"):
        find_last_words(tmp_path, "../../etc/passwd")


def test_a_crash_of_a_stopped_process_is_seen_once_it_is_over(tmp_path: Path) -> None:
    code = DYING.format(end="os.kill(os.getpid(), signal.SIGSTOP); ctypes.string_at(0)")
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.DEVNULL
    )
    os.waitpid(process.pid, os.WUNTRACED)
    before = find_last_words(tmp_path, ACTOR)
    process.send_signal(signal.SIGCONT)
    process.wait()
    after = find_last_words(tmp_path, ACTOR)

    assert before is not None
    assert after is not None
    assert (before.is_native_crash, after.is_native_crash) == (False, True)

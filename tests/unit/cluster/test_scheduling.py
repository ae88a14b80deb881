"""Slices of a process of its own, as the kernel tells them."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cluster.scheduling import SLICE_S, STARTING_NICENESS, behind_others

#: Prints what was returned, and each thread's slice in ns: one thread older, one younger.
PROGRAM = """
import json, threading
from pathlib import Path
from cluster.scheduling import take_short_slices

is_over = threading.Event()
threading.Thread(target=is_over.wait).start()
is_taken = take_short_slices()
threading.Thread(target=is_over.wait).start()
slices = [
    int(line.split(":")[1])
    for task in Path("/proc/self/task").iterdir()
    for line in (task / "sched").read_text().splitlines()
    if line.startswith("se.slice")
]
print(json.dumps([is_taken, slices]))
is_over.set()
"""


_SCHED = Path("/proc/self/sched")
needs_slices = pytest.mark.skipif(
    not _SCHED.exists() or "se.slice" not in _SCHED.read_text(encoding="utf-8"),
    reason="this kernel has no slices of a thread's own, or does not tell them",
)


@needs_slices
def test_every_thread_gets_the_short_slice() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)

    is_taken, slices = json.loads(ran.stdout)
    assert is_taken
    assert len(slices) == 3
    assert set(slices) == {round(SLICE_S * 1e9)}


def test_what_starts_gives_way_and_its_caller_does_not() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = niceness()

    assert behind_others(niceness) == max(before, STARTING_NICENESS)
    assert niceness() == before


def test_what_fails_behind_others_is_raised() -> None:
    def fail() -> None:
        raise ImportError("no such module")

    with pytest.raises(ImportError, match="no such module"):
        behind_others(fail)

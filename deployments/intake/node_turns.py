"""
Turns that the Loaders of one machine share, so that vettings never take all of its cores.

However idle a child is to the kernel, a part of what it does (its fork, its page faults, the memory
it gives back) is the kernel's own work, which nothing interrupts: the p99 of predictions was 1.6
times as long with children on both of two cores, 1.35 to 1.46 times with one of them left alone
(docs/benchmarks-intake.md).
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.private_files import private_directory


def half_the_cores() -> int:
    """Half of the cores that this process may use, one at least."""
    return max(1, len(os.sched_getaffinity(0)) // 2)


class NodeTurns:
    """
    As many turns at a time as there are ``places``, over all processes of this machine.

    Each is a locked file; the kernel frees that of a process that dies.
    """

    def __init__(self, directory: Path, places: int | None = None) -> None:
        """Turns kept in ``directory``, which other machines may share: each has its own there."""
        private_directory(directory)
        host = socket.gethostname()
        count = half_the_cores() if places is None else places
        self._files = [directory / f"{host}-{number}.lock" for number in range(count)]

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for a turn and hold it; blocks its thread."""
        place = self._free_place()
        if place is None:
            # Spread over the places; whoever is there is through within its own wall clock.
            place = _opened(self._files[os.getpid() % len(self._files)])
            fcntl.flock(place, fcntl.LOCK_EX)
        try:
            yield
        finally:
            os.close(place)

    def _free_place(self) -> int | None:
        for file in self._files:
            place = _opened(file)
            try:
                fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(place)
                continue
            return place
        return None


def _opened(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

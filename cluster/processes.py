"""
Processes of ours: how one is recognised, watched and ended without touching anybody else's.

A pid alone proves nothing, since the kernel hands it out again; here it always travels with the
process's start time or with a test of what it runs.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import psutil

#: Between two looks at whether a process is gone or ready.
POLL_INTERVAL_S = 0.02
_started: list[subprocess.Popen[bytes]] = []


class ServerProcess:
    """A server that this process started, or one of ours that it found running."""

    def __init__(
        self, process: psutil.Process, child: subprocess.Popen[bytes] | None = None
    ) -> None:
        self._process = process
        self._child = child

    @classmethod
    def started(cls, child: subprocess.Popen[bytes]) -> "ServerProcess":
        """The server that ``child`` is."""
        # It may outlive whoever started it, and Popen complains when it is collected before.
        _started[:] = [*(earlier for earlier in _started if earlier.poll() is None), child]
        return cls(psutil.Process(child.pid), child)

    @property
    def pid(self) -> int:
        """Process id."""
        return int(self._process.pid)

    @property
    def is_running(self) -> bool:
        """Whether it lives; a child that has ended is reaped on the way."""
        if self._child is not None:
            return self._child.poll() is None
        return is_alive(self._process)

    def end(self, stages: Sequence[tuple[signal.Signals, float]]) -> bool:
        """Send each signal and wait its seconds until the process is gone; whether it is."""
        for signum, wait_s in stages:
            if not self.is_running:
                break
            with contextlib.suppress(psutil.NoSuchProcess):
                self._process.send_signal(signum)
            self._wait(wait_s)
        return not self.is_running

    def _wait(self, timeout_s: float) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired, psutil.TimeoutExpired):
            if self._child is not None:
                self._child.wait(timeout_s)
            else:
                self._process.wait(timeout_s)


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def find_process(pid: int, matches: Callable[[psutil.Process], bool]) -> psutil.Process | None:
    """The live process ``pid`` if it is what ``matches`` looks for."""
    try:
        process = psutil.Process(pid)
        if is_alive(process) and matches(process):
            return process
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
    return None


def processes_where(matches: Callable[[psutil.Process], bool]) -> Iterator[psutil.Process]:
    """Live processes other than this one that ``matches`` accepts; unreadable ones are not ours."""
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            if is_alive(process) and matches(process):
                yield process
        except (psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError, PermissionError):
            continue
        except FileNotFoundError:  # its /proc entry went away between two looks
            continue


def works_in(process: psutil.Process, directory: Path) -> bool:
    """Whether the process's working directory is ``directory``."""
    return bool(process.cwd() == str(directory))


def end_all(
    processes: Iterable[psutil.Process], stages: Sequence[tuple[signal.Signals, float]]
) -> list[psutil.Process]:
    """
    Send each signal to all that still live and wait its seconds.

    Returns:
        Those that live on.
    """
    alive = list(processes)
    for signum, wait_s in stages:
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                process.send_signal(signum)
        _, alive = psutil.wait_procs(alive, timeout=wait_s)
        alive = [process for process in alive if is_alive(process)]
        if not alive:
            break
    return alive

"""
Who runs this SLIPWAY_HOME: a lock that dies with its holder, and a note for whoever comes after.

The note, ``run.json``, outlives a kill -9: by it the next start recognises what is left.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from cluster.errors import PlatformError
from cluster.private_files import private_directory, write_private
from cluster.processes import find_process
from cluster.ray_head import HeadRecord


class AlreadyRunning(PlatformError):
    """Another `slipway up` holds this SLIPWAY_HOME."""

    code = "already_running"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """One run of the platform."""

    pid: int
    created_s: float
    #: Address of the service, and of Ray's dashboard.
    url: str
    dashboard_url: str
    #: starting | running | stopping
    phase: str
    head_pid: int | None = None
    head_created_s: float | None = None

    @classmethod
    def of_this_process(
        cls, url: str, dashboard_url: str, phase: str, head: HeadRecord | None
    ) -> "RunRecord":
        """What the launcher notes of itself and, if there is one, of its Ray head."""
        pid, created_s = own_identity()
        return cls(
            pid=pid,
            created_s=created_s,
            url=url,
            dashboard_url=dashboard_url,
            phase=phase,
            head_pid=head.pid if head else None,
            head_created_s=head.created_s if head else None,
        )

    @property
    def head(self) -> HeadRecord | None:
        """The Ray head that this run started, if it came to that."""
        if self.head_pid is None or self.head_created_s is None:
            return None
        return HeadRecord(pid=self.head_pid, created_s=self.head_created_s)

    def find_launcher(self) -> psutil.Process | None:
        """The live process that wrote this, if it still is that one."""
        created_s = self.created_s
        return find_process(self.pid, lambda found: found.create_time() == created_s)


def own_identity() -> tuple[int, float]:
    """Pid and start time of this process."""
    return os.getpid(), psutil.Process().create_time()


def write_record(home: Path, record: RunRecord) -> None:
    """Replace the note of ``home``."""
    write_private(home / "run.json", json.dumps(asdict(record), indent=1))


def find_record(home: Path) -> RunRecord | None:
    """The note of the last run, if it did not end in order."""
    try:
        return RunRecord(**json.loads((home / "run.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def clear_record(home: Path) -> None:
    """Say that nothing of ours runs."""
    (home / "run.json").unlink(missing_ok=True)


@contextmanager
def exclusive(home: Path) -> Iterator[None]:
    """
    Hold ``home`` alone; the kernel lets go when this process dies.

    Raises:
        AlreadyRunning: Naming the process that holds it.
    """
    private_directory(home)
    with (home / "run.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            record = find_record(home)
            who = f"pid {record.pid}, {record.url}" if record else "another process"
            raise AlreadyRunning(
                f"the platform of {home} runs already ({who}): "
                "stop it with `slipway down`, or set another SLIPWAY_HOME"
            ) from error
        yield

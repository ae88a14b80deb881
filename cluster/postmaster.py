"""The running PostgreSQL of one data directory: recognised by its pid file, place and name."""

import signal
from dataclasses import dataclass
from pathlib import Path

import psutil

from cluster.processes import end_all, find_process, processes_where, works_in


@dataclass(frozen=True, kw_only=True, slots=True)
class Postmaster:
    """What ``postmaster.pid`` says of a running server."""

    process: psutil.Process
    port: int
    is_ready: bool


def find_postmaster(data: Path) -> Postmaster | None:
    """The live server of ``data``; a stale pid file, or one naming a foreign process, is none."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        pid, port = int(lines[0]), int(lines[3])
    except (OSError, ValueError, IndexError):
        return None
    process = find_process(pid, lambda found: found.name() == "postgres" and works_in(found, data))
    if process is None:
        return None
    # Line 8 is what pg_ctl waits for (src/include/utils/pidfile.h, LOCK_FILE_LINE_PM_STATUS).
    status = lines[7].strip() if len(lines) > 7 else ""  # noqa: PLR2004
    return Postmaster(process=process, port=port, is_ready=status == "ready")


def clear_remains(data: Path) -> None:
    """After kill -9 of the postmaster: end its orphans, whose shared memory bars a new server."""
    remains = processes_where(lambda found: found.name() == "postgres" and works_in(found, data))
    end_all(remains, ((signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)))
    (data / "postmaster.pid").unlink(missing_ok=True)

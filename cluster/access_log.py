"""
The access log: one line of JSON a request, in a file of its own beside the process's log.

    {"time", "level", "logger": "access", "request_id", "method", "path", "route", "status", "ms",
     "model", "version", "user", "key"}

Never a body, a header, a query or a credential.  A request pays for making its line; a thread
writes the lines of a tenth of a second at once.  5xx are warnings, all else is information.
"""

import atexit
import sys
import threading
import time
from collections import deque

import orjson

from cluster.logs import ExpiringFileHandler, process_log_file
from cluster.request_context import RequestFacts
from cluster.settings import Settings

#: Lines gather for this long before they are written.
GATHER_S = 0.1
#: Where the disk does not keep up, lines beyond this are lost and counted.
MOST_WAITING = 100_000
#: Paths are the caller's to choose.
_PATH_CHARACTERS = 256
_SERVER_ERRORS = 500
#: What HAProxy and probes ask for all day; told only when it fails.
_PROBES = ("/-/", "/health/live", "/health/ready")


class LineWriter:
    """Appends lines to a log file from a thread of its own."""

    def __init__(self, file: ExpiringFileHandler) -> None:
        self._file = file
        self._waiting: deque[str] = deque()
        self._lost = 0
        self._has_lines = threading.Event()
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Have the line written soon; never blocks."""
        if len(self._waiting) >= MOST_WAITING:
            self._lost += 1
            return
        self._waiting.append(line)
        if not self._has_lines.is_set():
            self._has_lines.set()

    def close(self) -> None:
        """Write what waits; safe to repeat."""
        self._is_closing.set()
        self._has_lines.set()
        self._thread.join()
        self._file.close()

    def _run(self) -> None:
        while not self._is_closing.is_set():
            self._has_lines.wait()
            self._is_closing.wait(GATHER_S)
            # Cleared before the lines are taken: one that comes meanwhile sets it again.
            self._has_lines.clear()
            self._write()
        self._write()  # what came while the lines before were being written

    def _write(self) -> None:
        lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
        lost, self._lost = self._lost, 0
        try:
            if lines:
                self._file.write_lines(lines)
        except OSError as error:
            lost += len(lines)
            sys.stderr.write(f"access log: {error}\n")
        if lost:
            sys.stderr.write(f"access log: {lost} lines lost\n")


class AccessLog:
    """Makes the line of each request that the level lets pass."""

    def __init__(self, writer: LineWriter, *, level: str) -> None:
        self._writer = writer
        self._least_status = {"DEBUG": 0, "INFO": 0, "WARNING": _SERVER_ERRORS}.get(level, 1000)
        self._second = 0
        self._date = ""

    def note(
        self,
        *,
        method: str,
        path: str,
        status: int,
        seconds: float,
        request_id: str,
        facts: RequestFacts,
    ) -> None:
        """Write the line of a request that was answered."""
        if status < self._least_status or (status < _SERVER_ERRORS and path.startswith(_PROBES)):
            return
        line = {
            "time": self._now(),
            "level": "INFO" if status < _SERVER_ERRORS else "WARNING",
            "logger": "access",
            "request_id": request_id,
            "method": method,
            "path": path[:_PATH_CHARACTERS],
            "route": facts.route,
            "status": status,
            "ms": round(seconds * 1000, 3),
            "model": facts.model_id,
            "version": facts.version,
            "user": facts.user_id,
            "key": facts.key_id,
        }
        self._writer.put(orjson.dumps(line).decode())

    def close(self) -> None:
        """Write what waits."""
        self._writer.close()

    def _now(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._date}.{int((now - second) * 1000):03d}Z"


_current: AccessLog | None = None


def configure_access_log(settings: Settings, process: str) -> AccessLog:
    """Begin to log this process's requests; a process that never calls this logs none."""
    global _current  # noqa: PLW0603 - one a process, as the loggers of the standard library are
    if _current is not None:
        _current.close()
    file = process_log_file(settings, f"access.{process}")
    _current = AccessLog(LineWriter(file), level=settings.log_level)
    atexit.register(_current.close)
    return _current


def current_access_log() -> AccessLog | None:
    """This process's access log, if it has one."""
    return _current

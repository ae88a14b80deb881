"""Shows what every process logs on one terminal, for people to read, as ``slipway up`` does."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cluster.settings import Settings

#: The files are looked at again after so long.
PERIOD_S = 0.5
#: More at a time, and nobody could read them.
MOST_LINES = 100
#: What a line begins with or shows otherwise; everything else stands behind it as name=value.
_SHOWN = frozenset({"time", "level", "logger", "message", "exception", "request_id"})
_ACCESS = frozenset({"method", "path", "route", "status", "ms", "user", "key", "model", "version"})


class LogFollower:
    """
    Follows the log files of a home from now on.

    Args:
        settings: Where the logs are.
        show: Takes each readable line.
    """

    def __init__(self, settings: Settings, show: Callable[[str], None]) -> None:
        self._base = settings.log_file
        self._show = show
        self._read_bytes = {path: path.stat().st_size for path in self._files()}
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-follower", daemon=True)

    def start(self) -> None:
        """Begin to show lines, from a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Show what has been written meanwhile, and end."""
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ends.wait(PERIOD_S):
            self._show_new()
        self._show_new()

    def _show_new(self) -> None:
        lines = [line for path in self._files() for line in self._new_lines(path)]
        lines.sort(key=lambda line: str(line.get("time", "")))
        if len(lines) > MOST_LINES:
            self._show(f"… {len(lines) - MOST_LINES} lines more, in {self._base.parent}")
        for line in lines[-MOST_LINES:]:
            self._show(readable(line))

    def _files(self) -> list[Path]:
        # Rotated ones were read while they were current.
        return sorted(self._base.parent.glob(f"{self._base.stem}.*{self._base.suffix or '.log'}"))

    def _new_lines(self, path: Path) -> Iterator[dict[str, Any]]:
        read_bytes = self._read_bytes.get(path, 0)
        try:
            if path.stat().st_size < read_bytes:
                read_bytes = 0  # it was rotated
            with path.open("rb") as file:
                file.seek(read_bytes)
                content = file.read()
        except OSError:
            return  # it was deleted; the next look tells
        whole = content[: content.rfind(b"\n") + 1]
        self._read_bytes[path] = read_bytes + len(whole)
        for line in whole.splitlines():
            yield json.loads(line)


def readable(line: dict[str, Any]) -> str:
    """The line of a log as a person reads it; a traceback follows on lines of its own."""
    begin = f"{str(line['time'])[11:23]} {line['level']:<7}"
    request = f"  [{line['request_id']}]" if line.get("request_id") else ""
    if line["logger"] == "access":
        said = f"{line['method']} {line['path']} {line['status']} {line['ms']:.1f} ms"
        rest = {name: value for name, value in line.items() if name not in _SHOWN | _ACCESS}
    else:
        said = f"{line['logger']}: {line['message']}"
        rest = {name: value for name, value in line.items() if name not in _SHOWN}
    more = "".join(f" {name}={value}" for name, value in rest.items())
    trace = f"\n{line['exception'].rstrip()}" if line.get("exception") else ""
    return f"{begin} {said}{more}{request}{trace}"

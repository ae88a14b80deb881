"""
Logging of every process: JSON lines to a file of its own, plain text on a terminal.

Files are rotated by size and deleted by age; a full disk costs lines, never a request.
"""

import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from cluster.request_context import request_id_var
from cluster.settings import Settings
from cluster.units import parse_age_s, parse_size_bytes

#: The parents of all our loggers (``logging.getLogger(__name__)``); Ray's own are left alone.
PACKAGES = ("cluster", "deployments", "serve_app")
#: Attributes of a LogRecord that are not the caller's ``extra``.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
#: More rotated files than this are deleted whatever their age.
_MOST_FILES = 200


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, request_id, then ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := request_id_var.get():
            line["request_id"] = request_id
        # What begins with an underscore is Ray's: its factory of records adds to every one.
        own = (item for item in record.__dict__.items() if not item[0].startswith("_"))
        line.update({name: value for name, value in own if name not in _STANDARD})
        if record.exc_info:
            # Not ``formatException``, which prints: Ray replaces ``print`` in its workers.
            line["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return json.dumps(line, default=str, ensure_ascii=False)


class ExpiringFileHandler(RotatingFileHandler):
    """
    Rotates at ``max_bytes`` and, at each rotation and at the start, deletes what is too old.

    Args:
        family: Pattern of all log files beside ``path`` that expire together: processes come and
            go, and nobody else deletes the last file of one that is gone.
    """

    def __init__(self, path: Path, *, family: str, max_bytes: int, retention_s: float) -> None:
        self._family = family
        self._retention_s = retention_s
        super().__init__(
            path, maxBytes=max_bytes, backupCount=_MOST_FILES, encoding="utf-8", delay=True
        )
        self.delete_expired()

    def write_lines(self, lines: Sequence[str]) -> None:
        """
        Append whole lines at once, rotating where the next one would exceed the size.

        Raises:
            OSError: The disk is full, or the file cannot be opened.
        """
        with self.lock or nullcontext():
            self._reopen_if_deleted()
            stream = self._stream()
            size_bytes = stream.tell()
            for line in lines:
                line_bytes = len(line.encode()) + 1
                if size_bytes and size_bytes + line_bytes > self.maxBytes:
                    self.doRollover()
                    stream, size_bytes = self._stream(), 0
                stream.write(f"{line}\n")
                size_bytes += line_bytes
            stream.flush()

    def shouldRollover(self, record: logging.LogRecord) -> int:  # noqa: N802 - the library's name
        """Whether the line would exceed the size; a file that has gone is begun anew first."""
        self._reopen_if_deleted()
        return super().shouldRollover(record)

    def doRollover(self) -> None:  # noqa: N802 - the standard library's name
        """Rotate, then delete what is too old."""
        super().doRollover()
        self.delete_expired()

    def _stream(self) -> TextIOWrapper:
        if self.stream is None:
            self.stream = self._open()
        return self.stream

    def _reopen_if_deleted(self) -> None:
        # A process that had nothing to say for the retention finds its file deleted by another.
        if self.stream is not None and os.fstat(self.stream.fileno()).st_nlink == 0:
            self.stream.close()
            self.stream = self._open()

    def delete_expired(self) -> None:
        """Delete files of the family that nobody has written to for the retention."""
        oldest = time.time() - self._retention_s
        for path in Path(self.baseFilename).parent.glob(self._family):
            try:
                if path.stat().st_mtime < oldest:
                    path.unlink()
            except FileNotFoundError:
                continue  # another rotation was faster

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the standard library's
        """Drop the line to stderr: no request may fail because of logging."""
        sys.stderr.write(f"log line lost: {record.levelname} {record.name}\n")


def process_log_file(settings: Settings, process: str) -> ExpiringFileHandler:
    """``<LOG_FILE stem>.<process>.<pid>.log``, rotated and expired as the settings say."""
    base = settings.log_file
    base.parent.mkdir(parents=True, exist_ok=True)
    suffix = base.suffix or ".log"
    return ExpiringFileHandler(
        base.with_name(f"{base.stem}.{process}.{os.getpid()}{suffix}"),
        family=f"{base.stem}.*{suffix}*",
        max_bytes=parse_size_bytes(settings.log_rotation),
        retention_s=parse_age_s(settings.log_retention),
    )


def configure_logging(settings: Settings, process: str) -> None:
    """
    Send our loggers to ``<LOG_FILE stem>.<process>.<pid>.log`` and, on a terminal, to stderr.

    Args:
        process: What this process is: ingress, loader, predictor, up.
    """
    file_handler = process_log_file(settings, process)
    file_handler.setFormatter(JsonFormatter())
    handlers: list[logging.Handler] = [file_handler]
    if sys.stderr.isatty():
        terminal = logging.StreamHandler()
        terminal.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
        handlers.append(terminal)
    for package in PACKAGES:
        logger = logging.getLogger(package)
        logger.setLevel(settings.log_level)
        logger.propagate = False
        for old in list(logger.handlers):
            logger.removeHandler(old)
            old.close()
        for handler in handlers:
            logger.addHandler(handler)

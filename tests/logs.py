"""Log files as tests read them, and our loggers as a test finds and leaves them."""

import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster.logs import PACKAGES
from cluster.settings import Settings


def access_log_files(settings: Settings) -> list[Path]:
    """The access logs of all processes, the rotated ones too."""
    base = settings.log_file
    return sorted(base.parent.glob(f"{base.stem}.access.*"))


def read_lines(files: Iterable[Path]) -> list[dict[str, Any]]:
    """What each line of JSON says, file after file."""
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@contextmanager
def loggers_restored(*more: str) -> Iterator[None]:
    """Our loggers, and those named, have afterwards what they had; handlers added are closed."""
    loggers = [logging.getLogger(name) for name in (*PACKAGES, *more)]
    before = [(list(each.handlers), each.level, each.propagate) for each in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        for added in set(logger.handlers) - set(handlers):
            added.close()
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate

"""A rolling update as HAProxy sees it: at no time are there no replicas to hand requests to."""

import csv
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.chaos.serve_control import ServeControl
from tests.system.platform import Platform, running

pytestmark = pytest.mark.quiet
PATIENCE_S = 1.0


def admin_socket(platform: Platform) -> Path:
    """Of the platform's HAProxy, beside the configuration that it was started with."""
    assert platform.process is not None
    for process in psutil.Process(platform.process.pid).children(recursive=True):
        line = process.cmdline()
        if process.name() == "haproxy" and "-f" in line:
            return Path(line[line.index("-f") + 1]).with_name("admin.sock")
    raise AssertionError("no HAProxy runs")


def replicas_in_use(admin: Path) -> int:
    """Servers of the application that are up; the last resort, a backup, is not among them."""
    with socket.socket(socket.AF_UNIX) as asked:
        asked.settimeout(PATIENCE_S)
        asked.connect(str(admin))
        asked.sendall(b"show stat\n")
        told = b"".join(iter(lambda: asked.recv(65536), b"")).decode()
    rows = list(csv.DictReader(told.removeprefix("# ").splitlines()))
    (row,) = [r for r in rows if r["svname"] == "BACKEND" and "slipway" in r["pxname"]]
    return int(row["act"])


@contextmanager
def watched(admin: Path) -> Iterator[list[int]]:
    """How many were in use at each look, until the block ends."""
    seen: list[int] = []
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.1):
            try:
                seen.append(replicas_in_use(admin))
            except OSError:
                continue  # between two of HAProxy's processes

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()


def test_haproxy_has_replicas_all_the_time(tmp_path: Path) -> None:
    with running(tmp_path, WORKERS="2") as platform, watched(admin_socket(platform)) as seen:
        ServeControl(platform).roll()

    assert len(seen) > 100
    assert min(seen) > 0

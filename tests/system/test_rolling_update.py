"""A rolling update as HAProxy sees it: at no time are there no replicas to hand requests to."""

import csv
import socket
from functools import partial
from pathlib import Path

import psutil
import pytest

from tests.chaos.serve_control import ServeControl
from tests.system.meanwhile import repeated
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


def replicas_in_use(admin: Path) -> int | None:
    """Servers of the application that are up, the last resort not among them; None: no answer."""
    try:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(PATIENCE_S)
            asked.connect(str(admin))
            asked.sendall(b"show stat\n")
            told = b"".join(iter(lambda: asked.recv(65536), b"")).decode()
    except OSError:
        return None
    rows = list(csv.DictReader(told.removeprefix("# ").splitlines()))
    (row,) = [r for r in rows if r["svname"] == "BACKEND" and "slipway" in r["pxname"]]
    return int(row["act"])


def test_haproxy_has_replicas_all_the_time(tmp_path: Path) -> None:
    with running(tmp_path, WORKERS="2") as platform:
        look = partial(replicas_in_use, admin_socket(platform))
        with repeated(look, pause_s=0.1) as seen:
            ServeControl(platform).roll()

    # No answer between two of HAProxy's processes.
    counts = [count for count in seen if count is not None]
    assert len(counts) > 100
    assert min(counts) > 0

"""Several processes write, rotate and expire in one directory at once; no line is lost or torn."""

import json
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from cluster.access_log import configure_access_log
from cluster.logs import configure_logging
from cluster.request_context import RequestFacts
from cluster.settings import Settings
from tests.system.platform import wait_until

PROCESSES = 3
THREADS = 3
LINES = 300
BOUND_BYTES = 20_000
#: A replica at work: every thread writes to the log, and all their requests to the access log.
WRITER = """
import logging, sys, threading
from pathlib import Path
from cluster.access_log import configure_access_log
from cluster.logs import configure_logging
from cluster.request_context import RequestFacts, request_id_var
from cluster.settings import Settings

home, name, threads, lines, bound = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
settings = Settings(_env_file=None, slipway_home=home, log_rotation=f"{bound} B")
configure_logging(settings, "ingress")
access = configure_access_log(settings, "ingress")
logger = logging.getLogger("serve_app.ingress")

def work(thread):
    for number in range(lines):
        request_id = f"{name}.{thread}.{number}"
        request_id_var.set(request_id)
        logger.info("handled\\nin two lines, wörtlich")
        access.note(method="GET", path="/x", status=200, seconds=0.001, request_id=request_id,
                    facts=RequestFacts())

workers = [threading.Thread(target=work, args=(each,)) for each in range(threads)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
"""


def settings(home: Path, **changes: object) -> Settings:
    return Settings(_env_file=None, slipway_home=home, **changes)  # type: ignore[arg-type]


def test_no_line_is_lost_or_torn(tmp_path: Path) -> None:
    arguments = [str(tmp_path), "{}", str(THREADS), str(LINES), str(BOUND_BYTES)]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, *(each.format(name) for each in arguments)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in range(PROCESSES)
    ]
    assert [writer.communicate(timeout=120)[1] for writer in writers] == [""] * PROCESSES

    files = sorted((tmp_path / "logs").iterdir())
    expected = {
        f"{name}.{thread}.{number}"
        for name in range(PROCESSES)
        for thread in range(THREADS)
        for number in range(LINES)
    }
    for kind in ("slipway.ingress.", "slipway.access.ingress."):
        own = [file for file in files if file.name.startswith(kind)]
        lines = [json.loads(line) for file in own for line in file.read_text().splitlines()]
        assert Counter(line["request_id"] for line in lines) == Counter(expected)
        assert len(own) > 3 * PROCESSES
        assert max(file.stat().st_size for file in own) <= BOUND_BYTES


def test_what_is_older_than_the_retention_goes_when_anybody_rotates(
    tmp_path: Path, restored_loggers: None
) -> None:
    configure_logging(settings(tmp_path, log_rotation="2 KB", log_retention="1 hour"), "ingress")
    directory = tmp_path / "logs"
    now = time.time()
    kinds = ("slipway.loader.7.log", "slipway.loader.7.log.3", "slipway.access.ingress.7.log.12")
    for kind in kinds:
        for age_s in (3700, 3500):
            file = directory / f"{kind}.{age_s}"
            file.write_text("{}\n")
            os.utime(file, (now, now - age_s))
    foreign = directory / "other.log"
    foreign.write_text("not ours\n")
    os.utime(foreign, (1, 1))

    for _ in range(30):
        logging.getLogger("serve_app.ingress").info("until it rotates")

    left = {file.name for file in directory.iterdir()}
    assert {f"{kind}.3500" for kind in kinds} <= left
    assert not {f"{kind}.3700" for kind in kinds} & left
    assert foreign.name in left


def test_a_process_whose_quiet_file_was_deleted_begins_another(
    tmp_path: Path, restored_loggers: None
) -> None:
    """Silent for the retention, its file went when another process rotated."""
    configure_logging(settings(tmp_path), "loader")
    access = configure_access_log(settings(tmp_path), "ingress")
    logger = logging.getLogger("deployments.loader")
    facts = RequestFacts()

    def write(request_id: str) -> list[str]:
        logger.info(request_id)
        access.note(
            method="GET", path="/", status=200, seconds=0, request_id=request_id, facts=facts
        )
        wait_until(lambda: _told(tmp_path, request_id) >= 2, what="both lines", timeout_s=30)
        return [request_id] * _told(tmp_path, request_id)

    assert write("before") == ["before"] * 2
    for file in (tmp_path / "logs").iterdir():
        file.unlink()
    assert write("after") == ["after"] * 2
    access.close()


def _told(home: Path, text: str) -> int:
    return sum(file.read_text().count(f'"{text}"') for file in (home / "logs").iterdir())

"""Lines of every process on one terminal, readable, each once, rotated or not."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.log_follower import LogFollower, readable
from cluster.logs import configure_logging
from cluster.request_context import request_id_var
from cluster.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, restored_loggers: None) -> Iterator[Settings]:
    before = request_id_var.set("")  # another test may have left one in this thread
    yield Settings(_env_file=None, slipway_home=tmp_path, log_rotation="2 KB")
    request_id_var.reset(before)


def test_what_is_logged_from_now_on_is_shown_once(settings: Settings) -> None:
    configure_logging(settings, "ingress")
    logger = logging.getLogger("serve_app.ingress")
    logger.info("before")
    shown: list[str] = []
    follower = LogFollower(settings, shown.append)
    follower.start()

    logger.info("first")
    other = settings.log_file.with_name("slipway.loader.7.log")
    other.write_text(
        '{"time": "2999-01-01T00:00:00.000Z", "level": "INFO", "logger": "deployments.loader",'
        ' "message": "of another process"}\n{"time": "torn'
    )
    follower.stop()

    assert [line.split(": ")[-1] for line in shown] == ["first", "of another process"]


def test_a_home_that_has_no_logs_yet_is_followed(settings: Settings) -> None:
    shown: list[str] = []
    follower = LogFollower(settings, shown.append)
    follower.start()

    configure_logging(settings, "ingress")
    logging.getLogger("serve_app.ingress").warning("hello")
    follower.stop()

    assert len(shown) == 1
    assert "WARNING serve_app.ingress: hello" in shown[0]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            {
                "time": "2026-11-23T10:00:01.250Z",
                "level": "INFO",
                "logger": "access",
                "request_id": "r-1",
                "method": "POST",
                "path": "/api/v1/models/iris/predict",
                "route": "/api/v1/models/{model}/predict",
                "status": 200,
                "ms": 1.234,
                "model": "m",
                "version": 1,
                "user": "u",
                "key": None,
            },
            "10:00:01.250 INFO    POST /api/v1/models/iris/predict 200 1.2 ms  [r-1]",
        ),
        (
            {
                "time": "2026-11-23T10:00:01.250Z",
                "level": "ERROR",
                "logger": "serve_app.api.errors",
                "message": "failed",
                "path": "/x",
                "exception": "Traceback\nValueError\n",
            },
            "10:00:01.250 ERROR   serve_app.api.errors: failed path=/x\nTraceback\nValueError",
        ),
    ],
)
def test_a_line_reads_as_a_sentence(line: dict[str, object], expected: str) -> None:
    assert readable(line) == expected

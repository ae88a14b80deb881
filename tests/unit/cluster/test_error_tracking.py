"""A real event reaches a stand-in for Sentry, with what helps and nothing secret."""

import json
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from pydantic import SecretStr

from cluster.error_tracking import (
    EVENTS_PER_MINUTE,
    SERVE_LOGGER,
    Allowance,
    configure_error_tracking,
    is_ours_to_mend,
)
from cluster.errors import ArtifactCorrupt, PlatformError, UploadRefused
from cluster.request_context import enter_request
from cluster.settings import Settings
from tests.collectors import Collector, collector
from tests.logs import loggers_restored

CANARY = "canary-7c1e0b"
logger = logging.getLogger("deployments.predictor")


@pytest.fixture
def sentry() -> Iterator[Collector]:
    with collector() as made:
        yield made


@pytest.fixture
def tracked() -> Iterator[None]:
    """Whatever a test configures is undone after it."""
    with loggers_restored(SERVE_LOGGER):
        yield
        sentry_sdk.get_client().close(timeout=0)
        sentry_sdk.init()


def settings(tmp_path: Path, dsn: str | None, **changes: Any) -> Settings:
    secret = None if dsn is None else SecretStr(dsn)
    return Settings(_env_file=None, slipway_home=tmp_path, sentry_dsn=secret, **changes)


def fail(body: str) -> None:
    """Fails as a model does: with what the caller sent in the error's text and in its locals."""
    headers = {"Authorization": f"Bearer {body}"}
    try:
        float(body)
    except ValueError:
        logger.exception(
            "a batch of %s failed", body, extra={"body": body, "authorization": headers}
        )


def test_an_event_says_where_and_for_which_request(
    sentry: Collector, tracked: None, tmp_path: Path
) -> None:
    made = settings(tmp_path, sentry.dsn, version="1.2.3", environment="production")
    assert configure_error_tracking(made, "predictor")
    enter_request("r-1", "m-1", 3)

    fail(CANARY)

    (event,) = sentry.wait_for_events(1)
    assert event["release"] == "slipway@1.2.3"
    assert event["environment"] == "production"
    assert event["level"] == "error"
    expected = {"process": "predictor", "request_id": "r-1", "model": "m-1", "version": "3"}
    assert expected.items() <= event["tags"].items()
    assert event["logentry"] == {"message": "a batch of %s failed"}
    (error,) = event["exception"]["values"]
    assert error["type"] == "ValueError"
    (frame,) = error["stacktrace"]["frames"]
    assert (frame["function"], frame["context_line"].strip()) == ("fail", "float(body)")


def test_nothing_that_a_caller_sent_leaves_the_house(
    sentry: Collector, tracked: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", CANARY)
    monkeypatch.setattr(sys, "argv", ["slipway", CANARY])
    configure_error_tracking(
        settings(tmp_path, sentry.dsn, secret_key=SecretStr(CANARY)), "ingress"
    )

    fail(CANARY)
    logging.getLogger(SERVE_LOGGER).error("Request failed: %s", CANARY)
    error = PlatformError("the platform failed", cause=CANARY)
    error.__cause__ = KeyError(CANARY)
    logger.error("request failed", exc_info=error, extra={"path": f"/x?key={CANARY}"})

    events = sentry.wait_for_events(3)
    assert CANARY not in json.dumps(events)
    assert not any(CANARY.encode() in body for _, body in sentry.received)
    assert [error["type"] for error in events[-1]["exception"]["values"]] == [
        "KeyError",
        "PlatformError",
    ]
    assert events[-1]["exception"]["values"][-1]["value"] == "the platform failed"
    assert not {"request", "user", "extra", "contexts", "breadcrumbs"} & set(events[-1])


def test_the_environment_of_events_can_be_named(
    sentry: Collector, tracked: None, tmp_path: Path
) -> None:
    made = settings(tmp_path, sentry.dsn, environment="staging", sentry_environment="blue")
    configure_error_tracking(made, "loader")

    logger.error("something")

    assert sentry.wait_for_events(1)[0]["environment"] == "blue"


@pytest.mark.parametrize(
    ("error", "is_told"),
    [
        (PlatformError("the platform failed"), True),
        (ArtifactCorrupt("the digest differs"), True),
        (ZeroDivisionError(), True),
        # Somebody foresaw it, and told the caller what to do.
        (UploadRefused("not a model"), False),
    ],
)
def test_only_what_is_ours_to_mend_is_an_event(error: Exception, *, is_told: bool) -> None:
    record = logging.makeLogRecord({"exc_info": (type(error), error, None)})

    assert is_ours_to_mend(record) == is_told


def test_a_storm_of_errors_is_bounded() -> None:
    now = [0.0]
    allowance = Allowance(EVENTS_PER_MINUTE, clock=lambda: now[0])

    assert sum(allowance.take() for _ in range(1000)) == EVENTS_PER_MINUTE
    now[0] = 20.0
    assert sum(allowance.take() for _ in range(1000)) == EVENTS_PER_MINUTE // 3


@pytest.mark.parametrize("is_listening", [True, False])
def test_a_sentry_that_is_away_holds_nobody_up(
    tracked: None, tmp_path: Path, *, is_listening: bool
) -> None:
    """Refusing connections, or taking them and never answering."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if is_listening:
            server.listen()
        dsn = f"http://key@127.0.0.1:{server.getsockname()[1]}/1"
        configure_error_tracking(settings(tmp_path, dsn), "ingress")
        started = time.thread_time(), time.monotonic()

        for _ in range(EVENTS_PER_MINUTE):
            fail(CANARY)

        assert time.monotonic() - started[1] < 20  # seconds that one connection would time out in


def test_without_a_dsn_nothing_is_imported(tmp_path: Path) -> None:
    probe = (
        "import sys; from pathlib import Path; from cluster.settings import Settings\n"
        "from cluster.error_tracking import configure_error_tracking\n"
        "made = Settings(_env_file=None, slipway_home=Path(sys.argv[1]))\n"
        "print(configure_error_tracking(made, 'ingress'), 'sentry_sdk' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", probe, str(tmp_path)], capture_output=True, text=True, check=True
    )

    assert said.stdout.split() == ["False", "False"]

"""The containers' own probe."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from cluster.backup.status import note_success
from cluster.container_health import has_network, is_backup_young, is_serving, main
from tests.system.platform import free_ports

NOW = datetime(2030, 1, 2, tzinfo=UTC)


@contextmanager
def server(status: int, headers: dict[str, str]) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/v2/health/ready" else 400)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made.server_port
        made.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("status", "headers", "is_healthy"),
    [
        (200, {"X-Request-ID": "a"}, True),
        (503, {"X-Request-ID": "a"}, False),
        # HAProxy's own answer.
        (200, {}, False),
    ],
)
def test_it_is_healthy_while_predictions_can_be_answered(
    status: int, headers: dict[str, str], *, is_healthy: bool
) -> None:
    with server(status, headers) as port:
        assert is_serving(port) is is_healthy


def test_nobody_there_is_not_healthy() -> None:
    assert is_serving(free_ports(1)[0]) is False


@pytest.mark.parametrize(("names", "expected"), [(["lo"], False), (["lo", "eth0"], True)])
def test_a_network_is_more_than_loopback(
    tmp_path: Path, names: list[str], *, expected: bool
) -> None:
    for name in names:
        (tmp_path / name).mkdir()

    assert has_network(tmp_path) is expected


def test_where_interfaces_cannot_be_listed_nothing_is_ended(tmp_path: Path) -> None:
    assert has_network(tmp_path / "absent")


@pytest.mark.parametrize(("hours", "is_young"), [(1, True), (25, True), (27, False)])
def test_a_backup_is_young_for_a_day_and_two_hours(
    tmp_path: Path, hours: int, *, is_young: bool
) -> None:
    begun = NOW - timedelta(hours=hours)
    note_success(
        tmp_path,
        begun_at=begun.isoformat(),
        name="n",
        destination="d",
        size_bytes=1,
        duration_s=1.0,
    )

    assert is_backup_young(tmp_path, now=NOW, started=begun - timedelta(days=9)) is is_young


@pytest.mark.parametrize("content", [None, "", "[]", json.dumps({"last_good_at": None})])
def test_without_a_backup_the_start_counts(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "backup-status.json").write_text(content)

    assert is_backup_young(tmp_path, now=NOW, started=NOW - timedelta(hours=1))
    assert not is_backup_young(tmp_path, now=NOW, started=NOW - timedelta(hours=27))


def test_another_word_is_a_wrong_use() -> None:
    assert main(["other"]) == 2

"""One line a request, whole, soon, and without anything secret."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster.access_log import AccessLog, configure_access_log
from cluster.request_context import RequestFacts
from cluster.settings import Settings
from tests.logs import access_log_files, read_lines

MakeLog = Callable[..., AccessLog]


def settings(home: Path, **changes: object) -> Settings:
    return Settings(_env_file=None, slipway_home=home, **changes)  # type: ignore[arg-type]


@pytest.fixture
def make_log(tmp_path: Path) -> Iterator[MakeLog]:
    made: list[AccessLog] = []

    def make(**changes: object) -> AccessLog:
        made.append(configure_access_log(settings(tmp_path, **changes), "ingress"))
        return made[-1]

    yield make
    for log in made:
        log.close()


def note(log: AccessLog, **changes: object) -> None:
    values: dict[str, object] = {
        "method": "POST",
        "path": "/api/v1/models/iris/predict",
        "status": 200,
        "seconds": 0.0012345,
        "request_id": "r-1",
        "facts": RequestFacts(),
    }
    log.note(**(values | changes))  # type: ignore[arg-type]  # by name, in each test


def lines(home: Path) -> list[dict[str, object]]:
    return read_lines(access_log_files(settings(home)))


def test_a_line_says_who_asked_what_and_how_it_went(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log()
    facts = RequestFacts()
    facts.route, facts.model_id, facts.version = "/api/v1/models/{model}/predict", "m-1", 3
    facts.user_id, facts.key_id = "u-1", "k-1"

    note(log, facts=facts)
    log.close()

    (line,) = lines(tmp_path)
    assert str(line.pop("time")).endswith("Z")
    assert line == {
        "level": "INFO",
        "logger": "access",
        "request_id": "r-1",
        "method": "POST",
        "path": "/api/v1/models/iris/predict",
        "route": "/api/v1/models/{model}/predict",
        "status": 200,
        "ms": 1.234,
        "model": "m-1",
        "version": 3,
        "user": "u-1",
        "key": "k-1",
    }


@pytest.mark.parametrize(
    ("level", "statuses"),
    [("DEBUG", [200, 404, 503]), ("INFO", [200, 404, 503]), ("WARNING", [503]), ("ERROR", [])],
)
def test_the_level_decides_which_requests_are_told(
    level: str, statuses: list[int], make_log: MakeLog, tmp_path: Path
) -> None:
    log = make_log(log_level=level)

    for status in (200, 404, 503):
        note(log, status=status)
    log.close()

    assert [line["status"] for line in lines(tmp_path)] == statuses


@pytest.mark.parametrize("path", ["/-/healthz", "/health/live", "/health/ready"])
def test_probes_are_told_when_they_fail(path: str, make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log()

    note(log, path=path, status=200)
    note(log, path=path, status=503)
    log.close()

    assert [line["status"] for line in lines(tmp_path)] == [503]


def test_a_path_cannot_tear_a_line_or_fill_the_disk(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log()

    note(log, path='/x\n{"level": "forged"}' + "y" * 5000)
    log.close()

    (line,) = lines(tmp_path)
    assert str(line["path"]).startswith('/x\n{"level": "forged"}')
    assert len(str(line["path"])) == 256


def test_files_rotate_at_their_size_and_lose_no_line(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log(log_rotation="4 KB")

    for number in range(200):
        note(log, request_id=f"r-{number}")
    log.close()

    files = access_log_files(settings(tmp_path))
    assert len(files) > 5
    assert max(file.stat().st_size for file in files) <= 4000
    assert {line["request_id"] for line in lines(tmp_path)} == {f"r-{n}" for n in range(200)}


def test_a_disk_that_fails_costs_lines_and_no_request(
    make_log: MakeLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = make_log()
    note(log)
    log.close()
    (file,) = access_log_files(settings(tmp_path))
    file.unlink()
    file.mkdir()
    log = make_log()

    note(log)
    log.close()

    assert "access log: 1 lines lost" in capsys.readouterr().err

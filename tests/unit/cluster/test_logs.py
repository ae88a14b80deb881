"""Lines are JSON with the request id; files rotate by size and go by age."""

import logging
import os
from pathlib import Path

import pytest

from cluster.logs import configure_logging
from cluster.request_context import request_id_var
from cluster.settings import Settings
from tests.logs import read_lines


@pytest.fixture
def settings(tmp_path: Path, restored_loggers: None) -> Settings:
    return Settings(slipway_home=tmp_path, log_rotation="2 KB", log_retention="1 day")


def lines(tmp_path: Path) -> list[dict[str, object]]:
    return read_lines(sorted((tmp_path / "logs").glob("slipway.*")))


def test_a_line_is_json_with_request_id_and_extras(settings: Settings, tmp_path: Path) -> None:
    configure_logging(settings, "ingress")
    token = request_id_var.set("r-1")

    logging.getLogger("serve_app.ingress").info(
        "model loaded", extra={"action": "load", "model": "iris"}
    )

    request_id_var.reset(token)
    (line,) = lines(tmp_path)
    assert line["message"] == "model loaded"
    assert line["request_id"] == "r-1"
    assert line["action"] == "load"
    assert line["model"] == "iris"


def test_a_file_rotates_at_its_size_and_loses_no_line(settings: Settings, tmp_path: Path) -> None:
    configure_logging(settings, "ingress")

    for number in range(100):
        logging.getLogger("serve_app.ingress").info("line", extra={"number": number})

    assert len(list((tmp_path / "logs").iterdir())) > 1
    assert sorted(line["number"] for line in lines(tmp_path)) == list(range(100))  # type: ignore[type-var]


def test_files_of_dead_processes_expire(settings: Settings, tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    old = directory / "slipway.ingress.1.log"
    recent = directory / "slipway.ingress.2.log"
    for file in (old, recent):
        file.write_text("{}\n")
    os.utime(old, (1, 1))

    configure_logging(settings, "ingress")

    assert not old.exists()
    assert recent.exists()


def test_the_level_decides_what_is_written(tmp_path: Path, settings: Settings) -> None:
    configure_logging(settings.model_copy(update={"log_level": "WARNING"}), "ingress")

    logging.getLogger("serve_app.ingress").info("quiet")
    logging.getLogger("serve_app.ingress").warning("loud")

    assert [line["message"] for line in lines(tmp_path)] == ["loud"]

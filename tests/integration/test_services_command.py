"""`slipway services`, `env`, `status` and `down` on a home of their own, without Ray."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cluster.embedded import EmbeddedPostgres, EmbeddedValkey
from cluster.ports import free_block
from serve_app.cli.main import app


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "home"
    first = free_block(5)
    names = (
        "PORT",
        "DASHBOARD_PORT",
        "RAY_PORT",
        "HAPROXY_STATS_PORT",
        "HAPROXY_METRICS_PORT",
    )
    for offset, name in enumerate(names):
        monkeypatch.setenv(name, str(first + offset))
    for name in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY", "ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLIPWAY_HOME", str(path))
    monkeypatch.setenv("ENV_FILE", "")
    yield path
    EmbeddedValkey(path).stop()
    EmbeddedPostgres(path).destroy()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_env_refuses_while_the_databases_are_absent(home: Path) -> None:
    result = run("env")

    assert result.exit_code == 1
    assert "slipway services start" in result.stderr
    assert result.stdout == ""


def test_env_prints_every_variable_and_no_secret(home: Path) -> None:
    assert run("services", "start").exit_code == 0
    result = run("env")

    lines = [shlex.split(line) for line in result.stdout.splitlines()]
    exported = dict(
        word.split("=", 1) for line in lines for word in line[1:] if line[0] == "export"
    )
    assert exported["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    assert exported["DATABASE_URL_FILE"] == str(home / "secrets" / "given" / "DATABASE_URL")
    for secret in (home / "secrets").rglob("*"):
        if secret.is_file():
            assert secret.read_text() not in result.stdout


def test_services_outlive_a_down_and_end_with_stop(home: Path) -> None:
    run("services", "start")
    assert run("down").exit_code == 0
    assert EmbeddedPostgres(home).is_running

    assert run("services", "stop").exit_code == 0
    assert not EmbeddedPostgres(home).is_running
    assert not EmbeddedValkey(home).is_running


def test_status_names_what_runs_and_what_does_not(home: Path) -> None:
    run("services", "start")
    result = run("status", "--json")

    states = {part["name"]: part["state"] for part in json.loads(result.stdout)["parts"]}
    assert result.exit_code == 1
    assert states["postgresql"] == states["valkey"] == "running"
    assert states["launcher"] == states["ray"] == states["http"] == "stopped"


def test_migrating_twice_says_that_the_schema_is_current(home: Path) -> None:
    assert json.loads(run("migrate", "--json").stdout)["migrated"]
    again = run("migrate", "--json")

    assert json.loads(again.stdout) == {"migrated": []}
    assert not EmbeddedPostgres(home).is_running


def test_down_of_nothing_says_so(home: Path) -> None:
    assert json.loads(run("down", "--json").stdout) == {"was_running": False}


def test_doctor_finds_free_ports_and_enough_disk(home: Path) -> None:
    result = run("doctor", "--json")

    findings = {each["name"]: each["state"] for each in json.loads(result.stdout)["findings"]}
    assert findings["ports"] == "ok"
    assert findings["python"] == "ok"


def test_production_names_every_fault_before_anything_starts(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("DEBUG", "true")
    result = run("up")

    assert result.exit_code == 1
    for fault in ("DEBUG is on", "SECRET_KEY is missing", "ALLOWED_HOSTS", "embedded"):
        assert fault in result.stderr
    assert not (home / "postgres").exists()

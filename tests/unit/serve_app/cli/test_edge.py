"""``slipway edge render`` as an operator runs it."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster import edge_bodies
from serve_app.cli.main import build_app


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ENV_FILE", "")
    monkeypatch.setenv("ALLOWED_HOSTS", "api.example.org")
    (tmp_path / "token").write_text("t" * 40)
    monkeypatch.setenv("EDGE_TOKEN_FILE", str(tmp_path / "token"))
    return tmp_path


def render(*words: str) -> tuple[int, str]:
    pair = ("--certificate", "/tls/c.pem", "--certificate-key", "/tls/k.pem")
    result = CliRunner().invoke(build_app(), ["edge", "render", *pair, *words])
    return result.exit_code, result.output


def test_the_file_is_private_since_it_holds_the_secret(home: Path) -> None:
    code, _ = render("--output", str(home / "nginx.conf"))

    assert code == 0
    assert (home / "nginx.conf").stat().st_mode & 0o777 == 0o600
    assert "t" * 40 in (home / "nginx.conf").read_text()


def test_without_an_output_it_is_printed(home: Path) -> None:
    code, output = render("--door", "10.0.0.1:8000", "--door", "10.0.0.2:8000")

    assert code == 0
    assert "server 10.0.0.1:8000 max_fails=0;" in output
    assert "server 10.0.0.2:8000 max_fails=0;" in output


def test_the_replicas_are_sought_where_this_home_has_them(home: Path) -> None:
    (home / "home").mkdir()
    (home / "home" / "ports.json").write_text('{"ingress": 21000}')

    _, output = render()

    assert "server 127.0.0.1:21000 " in output


def test_a_missing_token_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGE_TOKEN_FILE")

    code, output = render()

    assert code == 1
    assert "EDGE_TOKEN is missing" in output


UNBOUNDED = "nginx without Lua bounds no body's whole time"


def test_the_distributions_lua_is_found(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in edge_bodies.MODULES:
        (home / name).touch()
    monkeypatch.setattr(edge_bodies, "DISTRIBUTION_MODULES", home)

    _, output = render()

    assert f"load_module {home}/ngx_http_lua_module.so;" in output
    assert UNBOUNDED not in output


@pytest.mark.parametrize("words", [[], ["--lua-modules", "none"]])
def test_without_lua_it_says_what_is_not_bounded(
    home: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setattr(edge_bodies, "DISTRIBUTION_MODULES", home)

    code, output = render(*words)

    assert code == 0
    assert "load_module" not in output
    assert UNBOUNDED in output


def test_lua_of_another_machine_is_believed(home: Path) -> None:
    _, output = render("--lua-modules", "/nowhere/modules")

    assert "load_module /nowhere/modules/ndk_http_module.so;" in output
    assert UNBOUNDED not in output


def test_paths_of_nginx_are_written_down_unread(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key is root's and the directory its workers': the service's user may read neither."""
    theirs = home / "theirs"
    theirs.mkdir()
    may = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: Path(os.fsdecode(path)) != theirs and may(path, mode)
    )

    words = [f"--{name}={theirs}" for name in ("directory", "certificate", "certificate-key")]
    result = CliRunner().invoke(build_app(), ["edge", "render", *words])

    assert result.exit_code == 0, result.output
    assert f"{theirs}/body" in result.output

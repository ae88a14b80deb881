"""`slipway models` as the admin of this directory's platform, served over real sockets."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from cluster.settings import Settings
from serve_app.app import create_app
from serve_app.cli.main import app
from serve_app.services import build_services
from tests.integration.models_api.conftest import NotingLoaders, NotingPredictors, skops_file

SECRET = "s" * 48


def run(*words: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, words, input=stdin)


def document(*words: str, stdin: str = "") -> Any:
    result = run(*words, stdin=stdin)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def platform(
    database_url: str, valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A platform on a port of its own; the path is its home."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    home = tmp_path / "home"
    (home / "secrets").mkdir(parents=True)
    (home / "secrets" / "secret_key").write_text(SECRET)
    monkeypatch.delenv("SLIPWAY_URL", raising=False)
    monkeypatch.setenv("ENV_FILE", "")
    monkeypatch.setenv("SLIPWAY_HOME", str(home))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("PORT", str(listener.getsockname()[1]))
    settings = Settings(
        _env_file=None,
        redis_url=SecretStr(valkey_url),
        secret_key=SecretStr(SECRET),
        redis_prefix=f"{tmp_path.name}:",
    )
    served = create_app(
        build_services(
            settings,
            predictors=NotingPredictors(),
            loaders=NotingLoaders(),
            replica_id=f"cli-{tmp_path.name}",
        )
    )
    server = uvicorn.Server(uvicorn.Config(served, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield home
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture
def admin(platform: Path) -> str:
    email = f"{platform.parent.name}@example.org"
    words = ("users", "create", email, "--role", "admin", "--password-stdin")
    run(*words, stdin="correct horse battery\n")
    return email


def test_a_model_goes_up_moves_and_goes_away(admin: str, tmp_path: Path) -> None:
    files = []
    for number in (1, 2):
        path = tmp_path / f"{number}.skops"
        path.write_bytes(skops_file(f"{admin} {number}"))
        files.append(str(path))

    first = document("models", "--as", admin, "upload", files[0], "--name", "iris", "--json")
    second = document(
        "models", "upload", files[1], "--name", "iris", "--promote", "--as", admin, "--json"
    )
    shown = document("models", "show", "iris", "--as", admin, "--json")
    back = document("models", "--as", admin, "rollback", "iris", "--json")
    forth = document("models", "--as", admin, "promote", "iris", "2", "--json")
    listed = document("models", "list", "--as", admin, "--json")
    run("models", "delete", "iris", "--as", admin)
    left = document("models", "list", "--as", admin, "--json")

    assert (first["version"], second["version"]) == (1, 2)
    assert [item["version"] for item in shown["versions"]] == [2, 1]
    assert shown["production"] == 2
    assert (back["version"], forth["version"]) == (1, 2)
    assert [item["name"] for item in listed["items"]] == ["iris"]
    assert left["items"] == []


def test_without_a_name_the_command_acts_as_an_administrator(admin: str) -> None:
    listed = document("models", "list", "--json")

    assert listed == {"items": []}


def test_a_deactivated_user_is_nobody_to_act_as(admin: str) -> None:
    document(
        "users", "create", f"x{admin}", "--role", "member", "--password-stdin", "--json",
        stdin="correct horse battery\n",
    )  # fmt: skip
    run("users", "deactivate", f"x{admin}")

    result = run("models", "list", "--as", f"x{admin}")

    assert result.exit_code == 1
    assert "is deactivated" in result.stderr

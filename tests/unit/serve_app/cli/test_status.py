"""`slipway status` ends with 1 unless every part runs, whatever it prints."""

import json

import pytest
from typer.testing import CliRunner

from cluster.settings import Settings
from serve_app.cli import platform_status
from serve_app.cli.main import app
from serve_app.cli.platform_status import Part, State


@pytest.mark.parametrize(
    ("state", "exit_code"),
    [
        ("running", 0),
        # It answers, and not well: Valkey is away, or a deployment starts its replicas anew.
        ("failing", 1),
        ("stopped", 1),
    ],
)
@pytest.mark.parametrize("words", [("status",), ("status", "--json")])
def test_one_part_that_does_not_run_is_enough(
    state: State, exit_code: int, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [Part(name="ray", state="running"), Part(name="http", state=state, detail="a detail")]

    def look(_settings: Settings) -> list[Part]:
        return parts

    monkeypatch.setattr(platform_status, "look", look)
    monkeypatch.setenv("ENV_FILE", "")

    result = CliRunner().invoke(app, words)

    assert result.exit_code == exit_code
    if "--json" in words:
        assert json.loads(result.stdout) == {"parts": [part.to_json() for part in parts]}
    else:
        assert f"http         {state}" in result.stdout

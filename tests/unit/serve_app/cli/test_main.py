"""The command as a shell starts it."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from serve_app.cli.main import app

HEAVY = ("ray", "sklearn", "pandas", "scipy", "skops", "onnx", "fastapi")


@pytest.mark.parametrize(
    "command",
    ["up", "down", "status", "deploy", "services", "migrate", "env", "doctor", "users", "keys",
     "models", "predict", "backup"],
)  # fmt: skip
def test_every_command_explains_itself(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])

    assert result.exit_code == 0
    assert command in result.stdout


def test_no_command_loads_what_only_replicas_need() -> None:
    code = (
        "import json, sys, serve_app.cli.main; "
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert json.loads(printed.stdout) == []


def test_nothing_asked_shows_the_commands() -> None:
    result = CliRunner().invoke(app, [])

    assert result.exit_code == 2
    assert "models" in result.output

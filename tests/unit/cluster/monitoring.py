"""Prometheus' rules as they are shipped, and its own promtool."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[3]
PROMETHEUS = REPOSITORY / "cluster" / "prometheus"
ALERTS: dict[str, Any] = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is missing: apt-get install prometheus"
)


def rules(kind: str) -> list[dict[str, Any]]:
    return [rule for group in ALERTS["groups"] for rule in group["rules"] if kind in rule]


def run_promtool(*words: str, directory: Path) -> str:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *words], cwd=directory, capture_output=True, text=True, check=False, timeout=240
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr

"""Fixtures of the intake's tests."""

from pathlib import Path

import pytest


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """Where a payload would leave its mark."""
    return tmp_path / "escaped"

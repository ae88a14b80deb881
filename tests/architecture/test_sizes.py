"""A module that nobody can read at one sitting has two subjects."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINES_MAX = 250


@pytest.mark.parametrize("package", ["cluster", "deployments", "serve_app"])
def test_no_shipped_module_is_longer_than_the_house_style_allows(package: str) -> None:
    lines = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / package).rglob("*.py")
    }

    assert {path: count for path, count in lines.items() if count > LINES_MAX} == {}

"""Renders docs/settings.md from the settings: ``python -m cluster.settings_reference``."""

import sys
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from cluster.setting_sources import SECRET_NAMES
from cluster.settings import Settings

_HEADING = """# Settings

Environment variables, or lines of the dotenv file that `ENV_FILE` names (`.env` when it is
unset); the environment wins. A secret (marked so) may also lie in a file:
`SECRET_KEY_FILE=/run/secrets/key` and so on. Relative paths resolve against `SLIPWAY_HOME`.
This page is generated from `cluster/settings.py`; a test compares.

| name | default | what it does |
|---|---|---|
"""


def render() -> str:
    """The whole page as Markdown."""
    rows = (
        f"| `{name.upper()}` | {_default(name, field)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    )
    return _HEADING + "\n".join(rows) + "\n"


def _default(name: str, field: Any) -> str:
    if name.upper() in SECRET_NAMES or name == "secret_key_previous":
        return "unset; secret"
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined or value in ("", []):
        return "unset"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text}`"


if __name__ == "__main__":
    page = Path(__file__).parents[1] / "docs" / "settings.md"
    page.write_text(render(), encoding="utf-8")
    sys.stderr.write(f"wrote {page}\n")

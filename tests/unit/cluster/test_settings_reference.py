"""The page of settings is the settings' own docstrings."""

from pathlib import Path

from cluster.settings import Settings
from cluster.settings_reference import render

PAGE = Path(__file__).parents[3] / "docs" / "settings.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == render(), "run `python -m cluster.settings_reference`"


def test_every_setting_says_what_it_does() -> None:
    silent = [name for name, field in Settings.model_fields.items() if not field.description]

    assert silent == []

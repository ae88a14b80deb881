"""Names that callers choose."""

import pytest

from cluster.errors import InvalidInput
from serve_app.registry.names import check_alias, check_model_name, find_version_number


@pytest.mark.parametrize("name", ["a", "0", "iris-2.1_b", "x" * 64, "7"])
def test_good_model_names(name: str) -> None:
    assert check_model_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Iris",  # upper case
        ".hidden",  # first a letter or digit
        "x" * 65,
        "iris\n",
        "0f8fad5bd9cb469fa16570867728950e",  # an id without hyphens is an id
    ],
)
def test_bad_model_names(name: str) -> None:
    with pytest.raises(InvalidInput):
        check_model_name(name)


@pytest.mark.parametrize("alias", ["production", "v2", "2.0", "0a"])
def test_good_aliases(alias: str) -> None:
    assert check_alias(alias) == alias


@pytest.mark.parametrize("alias", ["", "2", "007", "A", "x" * 65])
def test_bad_aliases(alias: str) -> None:
    with pytest.raises(InvalidInput):
        check_alias(alias)


@pytest.mark.parametrize(
    ("version", "number"),
    [(3, 3), ("3", 3), ("007", 7), ("v3", None), ("³", None), ("9" * 40, None)],
)
def test_version_numbers(version: str | int, number: int | None) -> None:
    assert find_version_number(version) == number

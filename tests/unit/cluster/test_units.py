"""Sizes and ages as operators write them."""

import pytest

from cluster.errors import InsecureSettings
from cluster.units import parse_age_s, parse_size_bytes


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("500 MB", 500_000_000), ("64 MiB", 64 * 2**20), ("1.5KB", 1500)]
)
def test_a_size_is_read_in_bytes(text: str, size_bytes: int) -> None:
    assert parse_size_bytes(text) == size_bytes


@pytest.mark.parametrize(("text", "age_s"), [("30 days", 2_592_000), ("1 hour", 3600)])
def test_an_age_is_read_in_seconds(text: str, age_s: float) -> None:
    assert parse_age_s(text) == age_s


@pytest.mark.parametrize("text", ["", "big", "5 parsecs", "-1 MB"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InsecureSettings, match="500 MB"):
        parse_size_bytes(text)

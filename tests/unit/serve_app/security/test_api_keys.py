"""Keys of ours are told from everything else by form and checksum."""

import re

import pytest

from serve_app.security.api_keys import digest, is_same, is_well_formed, make_key

KEY = make_key()


def test_a_key_has_the_form_that_scanners_look_for() -> None:
    assert re.fullmatch(r"slp_[0-9A-Za-z]{8}_[0-9A-Za-z]{36}", KEY.text)
    assert KEY.text.startswith(KEY.prefix + "_")


def test_a_key_is_well_formed_and_stored_by_its_digest() -> None:
    assert is_well_formed(KEY.text)
    assert KEY.sha256 == digest(KEY.text)
    assert len(KEY.sha256) == 32


def test_no_two_keys_are_alike() -> None:
    assert len({make_key().text for _ in range(200)}) == 200


def test_a_key_does_not_show_itself() -> None:
    assert KEY.text not in repr(KEY)


@pytest.mark.parametrize("position", range(4, 49))
def test_any_one_mistyped_character_is_seen(position: int) -> None:
    other = "a" if KEY.text[position] != "a" else "b"

    assert not is_well_formed(KEY.text[:position] + other + KEY.text[position + 1 :])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "slp_",
        KEY.text[:-1],  # cut short
        KEY.text + "A",  # too long
        KEY.text + "\n",  # a line read from a file
        " " + KEY.text,
        KEY.text.replace("slp_", "SLP_"),
        KEY.text.replace("slp_", "sk_"),
        "slp_" + "é" * 8 + "_" + "é" * 36,
    ],
    # The key is another at every run; its text must not be part of a test's name.
    ids=["empty", "prefix", "short", "long", "line", "space", "upper", "foreign", "not ascii"],
)
def test_another_form_is_refused(text: str) -> None:
    assert not is_well_formed(text)


def test_digests_are_compared_whole() -> None:
    assert is_same(KEY.sha256, digest(KEY.text))
    assert not is_same(KEY.sha256, digest(make_key().text))

"""Two headers, one credential: anything else is nobody."""

import pytest

from cluster.errors import NotAuthenticated
from serve_app.security.api_keys import make_key
from serve_app.security.credentials import cache_key, read_credential

KEY, OTHER = make_key().text, make_key().text


def position(value: object) -> str | None:
    """Names a case without the key in it, which is another at every run."""
    return "key" if "slp_" in str(value) else None


@pytest.mark.parametrize(
    ("authorization", "api_key", "kind", "text"),
    [
        ("Bearer a.b.c", None, "token", "a.b.c"),
        ("bearer a.b.c", None, "token", "a.b.c"),
        (f"Bearer {KEY}", None, "key", KEY),
        (None, KEY, "key", KEY),
        (f"Bearer {KEY}", KEY, "key", KEY),  # both say the same
    ],
    ids=position,
)
def test_a_credential_is_read(
    authorization: str | None, api_key: str | None, kind: str, text: str
) -> None:
    found = read_credential(authorization, api_key)

    assert (found.kind, found.text) == (kind, text)


@pytest.mark.parametrize(
    ("authorization", "api_key"),
    [
        (None, None),
        ("", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic YTpi", None),
        ("Bearer a b", None),
        (KEY, None),  # without a scheme
        (None, ""),
        (None, "a.b.c"),  # a token is no key
        (None, f"Bearer {KEY}"),
        (None, KEY[:-1] + ("A" if KEY[-1] != "A" else "B")),  # mistyped
        (f"Bearer {KEY}", OTHER),  # contradictory
        ("Bearer a.b.c", KEY),
        ("Basic YTpi", KEY),
    ],
    ids=position,
)
def test_anything_else_is_refused_alike(authorization: str | None, api_key: str | None) -> None:
    with pytest.raises(NotAuthenticated) as refusal:
        read_credential(authorization, api_key)

    assert "no valid credential" in refusal.value.message


def test_a_credential_does_not_show_itself() -> None:
    assert KEY not in repr(read_credential(None, KEY))


def test_a_cache_never_mistakes_one_header_for_the_other() -> None:
    values = [None, "", KEY, "None", "+", "\ud800"]

    keys = {cache_key(left, right) for left in values for right in (None, "", KEY)}

    assert len(keys) == len(values) * 3

"""What a caller may do is what both the role and the credential allow."""

import pytest

from cluster.errors import NotPermitted
from serve_app.security.principals import SCOPES, Principal


def principal(role: str, scopes: frozenset[str] | None = None) -> Principal:
    key_id = None if scopes is None else "k"
    return Principal(user_id="u", email="a@b", role=role, scopes=scopes, key_id=key_id)


@pytest.mark.parametrize(
    ("role", "scopes", "allowed"),
    [
        ("member", None, {"predict", "models:read", "models:write", "keys"}),
        ("publisher", None, {"predict", "models:read", "models:write", "keys"}),
        ("admin", None, set(SCOPES)),
        ("admin", frozenset({"predict"}), {"predict"}),  # a key of an admin's is a key
        ("member", frozenset({"admin"}), set()),  # an admin who no longer is
        ("member", frozenset({"predict", "keys"}), {"predict", "keys"}),
        ("unheard-of", None, set()),  # a role of another release
    ],
)
def test_scopes(role: str, scopes: frozenset[str] | None, allowed: set[str]) -> None:
    caller = principal(role, scopes)

    assert {scope for scope in SCOPES if caller.has(scope)} == allowed


def test_a_missing_scope_is_named() -> None:
    with pytest.raises(NotPermitted, match="'models:write'"):
        principal("member", frozenset({"predict"})).require("models:write")


def test_a_missing_role_is_named() -> None:
    with pytest.raises(NotPermitted, match="'member'"):
        principal("member").require("admin")


def test_only_a_session_passes_for_one() -> None:
    principal("member").require_session()
    with pytest.raises(NotPermitted, match="sign in"):
        principal("admin", frozenset(SCOPES)).require_session()


def test_an_override_wins_over_the_default() -> None:
    caller = Principal(user_id="u", email="a@b", role="member", limits={"max_keys": 3})

    assert caller.limit("max_keys", 100) == 3
    assert caller.limit("max_models", 1000) == 1000

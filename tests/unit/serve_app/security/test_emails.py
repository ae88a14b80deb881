"""One @, at most 254 characters, nothing cleverer."""

import pytest

from cluster.errors import InvalidInput
from serve_app.security.emails import check_email


@pytest.mark.parametrize("email", ["a@b", "Ada.Lovelace+x@Example.org", "ü@ü", "x" * 250 + "@abc"])
def test_an_address_is_kept_in_lower_case(email: str) -> None:
    assert check_email(email) == email.lower()


@pytest.mark.parametrize(
    "email",
    [
        "",
        "a",
        "@",
        "a@",
        "@b",
        "a@b@c",
        "a b@c",
        "a@b\n",
        "a@b\x00",
        "x" * 251 + "@abc",
        "İ" * 130 + "@b",
    ],
)
def test_what_is_none_is_refused(email: str) -> None:
    with pytest.raises(InvalidInput, match="one @"):
        check_email(email)

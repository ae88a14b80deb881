"""Numbers as JSON means them; the rest of strictness is tested over HTTP."""

import pytest

from cluster.request_errors import MalformedJson
from serve_app.api.json_body import decode


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"5", 5),
        (b"5.0", 5),
        (b"5e2", 500),
        (b"-0.0", 0),
        (b"9007199254740992.0", 2**53),
        (b"5.5", 5.5),
        (b"1e300", 1e300),
    ],
)
def test_a_number_without_a_fraction_is_an_integer(text: bytes, value: float) -> None:
    found = decode(text)

    assert found == value
    assert type(found) is type(value)


def test_a_number_that_is_too_large_is_refused() -> None:
    with pytest.raises(MalformedJson, match="too large"):
        decode(b"1e400")

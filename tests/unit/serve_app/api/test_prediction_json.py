from typing import Any

import pytest

from cluster.errors import InvalidInput
from cluster.request_errors import MalformedJson
from serve_app.api.prediction_json import parse_object, parse_strictly, refuse_unknown


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e400}',
        b"\xff{}",
        b'{"a": "\\ud800"}',  # half a surrogate pair
        b'{"a": 1} x',
        b'{"a": ' + b"[" * 2000 + b"]" * 2000 + b"}",
        b'{"a": 1, "a": 1}',
        b'{"a" : 1, "a" : 2, "b": ":"}',  # colons in strings hide nothing
        b'{"rows": [{"x": 1, "x": 2}]}',
        b'{"rows": [{"x": {"y": 1, "y": 2}}]}',
        b'{"rows": [[{"x": 1, "x": 2}]]}',
        b'{"rows": [1, {"x": 1, "x": 2}]}',
        b'{"at": "12:30", "at": "12:31"}',
    ],
)
def test_what_is_not_strict_json_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedJson):
        parse_object(body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1, "b": {"c": [1, 2.5]}}', {"a": 1, "b": {"c": [1, 2.5]}}),
        (b'{"at": "12:30", "b": [{"c": ":"}]}', {"at": "12:30", "b": [{"c": ":"}]}),
        (b"{}", {}),
    ],
)
def test_an_object_is_read(body: bytes, value: Any) -> None:
    assert parse_object(body) == value
    assert parse_object(memoryview(body)) == value
    assert parse_object(bytearray(body)) == value


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"x"'])
def test_another_value_is_wrong_rather_than_malformed(body: bytes) -> None:
    with pytest.raises(InvalidInput, match="object") as refused:
        parse_object(body)

    assert not isinstance(refused.value, MalformedJson)


def test_strict_reading_keeps_integers_exact() -> None:
    assert parse_strictly(b"[123456789012345678901234567890]") == [123456789012345678901234567890]
    with pytest.raises(MalformedJson):
        parse_strictly(b"[" + b"9" * 5000 + b"]")


def test_unknown_members_are_refused_by_name() -> None:
    refuse_unknown({"a": 1}, frozenset({"a", "b"}))
    with pytest.raises(InvalidInput, match="'c/d'") as refused:
        refuse_unknown({"a": 1, "c/d": 2}, frozenset({"a"}), "/inputs/0", "an input")

    assert [detail["path"] for detail in refused.value.details] == ["/inputs/0/c~1d"]

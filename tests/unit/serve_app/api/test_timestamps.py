"""Which times are taken, and as what."""

from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from serve_app.api.timestamps import Timestamp

TIMES: TypeAdapter[datetime] = TypeAdapter(Timestamp)


@pytest.mark.parametrize(
    "text",
    ["2030-01-31T12:00:00Z", "2030-01-31T12:00:00+00:00", "2030-02-01T11:59:00+23:59"],
)
def test_a_time_with_a_zone_is_taken_in_utc(text: str) -> None:
    found = TIMES.validate_python(text)

    assert found == datetime(2030, 1, 31, 12, tzinfo=UTC)
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    "value",
    [
        "2030-01-31T12:00:00",  # no zone
        "2030-01-31",
        "0.5",
        "1900000000",
        1_900_000_000,
        0.5,
        True,
        "0001-01-01T00:00:00+10:00",  # before the year 1 in UTC
        "2030-13-31T12:00:00Z",
    ],
)
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ValidationError):
        TIMES.validate_python(value)

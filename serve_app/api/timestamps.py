"""Times as callers give them: RFC 3339 with a zone, nothing that is guessed, UTC from here on."""

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field

#: pydantic would take a number for seconds, or milliseconds, of the Unix epoch.
_BEGINNING = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]")


def _check_form(value: object) -> object:
    if not isinstance(value, str) or _BEGINNING.match(value) is None:
        raise ValueError("send a time as RFC 3339 has it, such as 2030-01-31T12:00:00Z")
    return value


def _in_utc(value: datetime) -> datetime:
    # RFC 3339 knows zones up to 23:59 from UTC, PostgreSQL up to 15:59.
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("lies before the year 1 or after 9999 in UTC") from None


Timestamp = Annotated[
    AwareDatetime, Field(strict=False), BeforeValidator(_check_form), AfterValidator(_in_utc)
]

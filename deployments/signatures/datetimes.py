"""
RFC 3339 date-times as numpy's datetime64, to the digit.

A column without a time zone takes a time without an offset as it stands and one with an offset
as UTC; a column with a time zone needs the offset and is handed over in UTC.
"""

import re

import numpy as np

from deployments.signatures.faults import CellRefused, quoted

_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})"
    r"(?:[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})?)?",
    re.ASCII,
)
_DTYPE = re.compile(r"datetime64\[(s|ms|us|ns)(?:, *(.+))?\]")
_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_LAST_HOUR, _LAST_MINUTE = 23, 59
_FORMAT = "2026-03-29T12:00:00Z"
#: What 64 bits of nanoseconds can say; beyond it numpy wraps around in silence.
_NS_FIRST, _NS_LAST = np.datetime64("1677-09-22", "s"), np.datetime64("2262-04-11", "s")


class DatetimeFormat:
    """How one column's dtype wants its times: unit and whether it has a zone."""

    def __init__(self, dtype: str) -> None:
        match = _DTYPE.fullmatch(dtype)
        self.unit: str = match[1] if match else "us"
        self.has_zone = bool(match and match[2])
        self.dtype: np.dtype[np.datetime64] = np.dtype(f"datetime64[{self.unit}]")

    def parse(self, value: object) -> np.datetime64:
        """
        The instant that an RFC 3339 text names, in the column's unit.

        Raises:
            CellRefused: It is no such text, or the column cannot hold it exactly.
        """
        match = _RFC3339.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise _refused(f"takes an RFC 3339 date-time such as {_FORMAT}, got {quoted(value)}")
        date, time, fraction, offset = match.groups()
        if self.has_zone and offset is None:
            raise _refused(f"takes a date-time with an offset, as {_FORMAT} has, got {date}")
        if len((fraction or "").rstrip("0")) > _DIGITS[self.unit]:
            raise _refused(f"keeps {_DIGITS[self.unit]} digits of a second, got {quoted(value)}")
        return self._instant(date, time or "00:00:00", fraction or "0", offset)

    def _instant(self, date: str, time: str, fraction: str, offset: str | None) -> np.datetime64:
        try:
            whole = np.datetime64(f"{date}T{time}", "s") - _offset(offset)
        except ValueError:
            raise _refused(f"takes a date-time that exists, got {date}T{time}") from None
        if self.unit == "ns" and not _NS_FIRST <= whole <= _NS_LAST:
            raise _refused(f"keeps nanoseconds, hence years 1678 to 2261, got {date}")
        part = int(fraction.ljust(9, "0")[: _DIGITS[self.unit]] or "0")
        return whole.astype(self.dtype) + np.timedelta64(part, self.unit)  # type: ignore[call-overload,no-any-return]


def _offset(text: str | None) -> np.timedelta64:
    if text is None or text in "Zz":
        return np.timedelta64(0, "s")
    hours, minutes = int(text[1:3]), int(text[4:6])
    if hours > _LAST_HOUR or minutes > _LAST_MINUTE:
        raise ValueError(text)
    seconds = hours * 3600 + minutes * 60
    return np.timedelta64(-seconds if text[0] == "-" else seconds, "s")


def _refused(message: str) -> CellRefused:
    return CellRefused("not_rfc3339", message)

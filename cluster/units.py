"""Reads the sizes and ages that operators write: "500 MB", "30 days"."""

import re

from cluster.errors import InsecureSettings

_SIZE_BYTES = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
}
_AGE_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}


def parse_size_bytes(text: str) -> int:
    """
    Bytes of a size such as ``500 MB`` (powers of ten) or ``64 MiB`` (powers of two).

    Raises:
        InsecureSettings: If it is no such size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text)
    if match is None or match[2].upper() not in _SIZE_BYTES:
        raise InsecureSettings(f"{text!r} is no size: write for example 500 MB")
    return int(float(match[1]) * _SIZE_BYTES[match[2].upper()])


def parse_age_s(text: str) -> float:
    """
    Seconds of an age such as ``30 days``.

    Raises:
        InsecureSettings: If it is no such age.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+?)s?\s*", text)
    if match is None or match[2].lower() not in _AGE_S:
        raise InsecureSettings(f"{text!r} is no age: write for example 30 days")
    return float(match[1]) * _AGE_S[match[2].lower()]

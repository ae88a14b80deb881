"""
API keys: ``slp_<8 id>_<30 random><6 checksum>``, all base62.

The checksum lets a mistyped key be refused without a look-up; only the SHA-256 of the whole key is
stored, which suffices for 178 random bits.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LENGTH = 8
RANDOM_LENGTH = 30
CHECKSUM_LENGTH = 6
MARK = "slp_"
_FORM = re.compile(r"slp_[0-9A-Za-z]{8}_[0-9A-Za-z]{36}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewKey:
    """A key at the only moment when it is known; its text stays out of ``repr``."""

    text: str
    prefix: str
    sha256: bytes

    def __repr__(self) -> str:
        return f"NewKey(prefix={self.prefix!r})"


def make_key() -> NewKey:
    """A new random key."""
    prefix = MARK + _random(ID_LENGTH)
    body = f"{prefix}_{_random(RANDOM_LENGTH)}"
    text = body + _checksum(body)
    return NewKey(text=text, prefix=prefix, sha256=digest(text))


def is_well_formed(text: str) -> bool:
    """Whether form and checksum are those of a key; says nothing about its being known."""
    if _FORM.fullmatch(text) is None:
        return False
    body, checksum = text[:-CHECKSUM_LENGTH], text[-CHECKSUM_LENGTH:]
    return hmac.compare_digest(_checksum(body), checksum)


def digest(text: str) -> bytes:
    """What is stored and looked up: SHA-256 of the key, 32 bytes."""
    return hashlib.sha256(text.encode()).digest()


def is_same(stored_sha256: bytes, presented_sha256: bytes) -> bool:
    """Whether two digests are equal, in constant time."""
    return hmac.compare_digest(stored_sha256, presented_sha256)


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _checksum(body: str) -> str:
    value = zlib.crc32(body.encode())
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        value, digit = divmod(value, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))

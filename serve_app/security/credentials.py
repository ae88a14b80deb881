"""What a request brings to identify itself, read from its headers and not yet believed."""

import hashlib
from dataclasses import dataclass, field
from typing import Literal

from cluster.errors import NotAuthenticated
from serve_app.security.api_keys import MARK, is_well_formed
from serve_app.security.tokens import REFUSAL


@dataclass(frozen=True, kw_only=True, slots=True)
class Credential:
    """One credential of a known form; its text stays out of ``repr``."""

    kind: Literal["key", "token"]
    text: str = field(repr=False)


def read_credential(authorization: str | None, api_key: str | None) -> Credential:
    """
    The one credential that the two headers carry.

    Raises:
        NotAuthenticated: If there is none, one of no form of ours, or two that differ.
    """
    found = set()
    if authorization is not None:
        found.add(_read_authorization(authorization))
    if api_key is not None:
        found.add(_read_key(api_key))
    if len(found) != 1:
        raise NotAuthenticated(REFUSAL, reason="no credential, or two that differ")
    return found.pop()


def cache_key(authorization: str | None, api_key: str | None) -> bytes:
    """Digest of both headers as they are: what a cache may hold instead of a secret."""
    # Marked, so that an absent header is not one that says "None"; none holds a line break.
    first = "-" if authorization is None else f"+{authorization}"
    second = "-" if api_key is None else f"+{api_key}"
    text = f"{first}\n{second}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _read_authorization(value: str) -> Credential:
    scheme, _, text = value.partition(" ")
    text = text.strip(" ")
    if scheme.lower() != "bearer" or not text or " " in text:
        raise NotAuthenticated(REFUSAL, reason="no bearer credential")
    return _read_key(text) if text.startswith(MARK) else Credential(kind="token", text=text)


def _read_key(text: str) -> Credential:
    # The checksum spares a look-up for every typing error.
    if not is_well_formed(text):
        raise NotAuthenticated(REFUSAL, reason="not a key of ours")
    return Credential(kind="key", text=text)

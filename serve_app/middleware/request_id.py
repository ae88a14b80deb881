"""The request id: a client's own where it is harmless, else a new one; one a request."""

import os
import re

HEADER = b"x-request-id"
#: What may go into logs and headers unescaped.
_ACCEPTABLE = re.compile(rb"[A-Za-z0-9._-]{1,128}")


def new_request_id() -> str:
    """128 random bits as 32 hex digits."""
    return os.urandom(16).hex()


def choose_request_id(presented: list[bytes]) -> str:
    """The client's id if it sent exactly one that is acceptable, else a new one."""
    if len(presented) == 1 and _ACCEPTABLE.fullmatch(presented[0]):
        return presented[0].decode("ascii")
    return new_request_id()

"""
What passes between the Sandbox, its zygote and a vetting child: length-prefixed frames.

A frame is eight bytes of length, little-endian, then that many bytes: JSON or raw.  Nothing that
a child wrote is ever unpickled.
"""

import json
import os
import struct
from typing import Any

from cluster.contracts import JsonObject

_LENGTH = struct.Struct("<Q")
_READ_BYTES = 1 << 30
#: The verdict holds a signature and the canary's answers, and after that compiled arrays as they
#: are; more than this is no verdict.
MAX_VERDICT_BYTES = 24 * 1024 * 1024
#: Commands to the zygote and its notices.
MAX_NOTICE_BYTES = 64 * 1024


class BrokenFrame(Exception):
    """The other side closed early, or announced more than is allowed."""


def frame_head(length: int) -> bytes:
    """What stands before a frame's content of ``length`` bytes."""
    return _LENGTH.pack(length)


def json_frame(value: JsonObject) -> bytes:
    """The object as a JSON frame; raises ValueError for NaN and infinities."""
    content = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    return frame_head(len(content)) + content


def read_frame(descriptor: int, *, max_bytes: int) -> bytes | None:
    """
    The next frame from a blocking descriptor; ``None`` at its end.

    Raises:
        BrokenFrame: The frame is longer than ``max_bytes`` or cut off.
    """
    head = _read_exactly(descriptor, _LENGTH.size)
    if not head:
        return None
    length = _frame_length(head, max_bytes)
    content = _read_exactly(descriptor, length)
    if len(content) != length:
        raise BrokenFrame("cut off")
    return content


def split_frames(received: bytes | bytearray, *, max_bytes: int) -> list[bytes]:
    """
    The frames in bytes that were read to their end.

    Raises:
        BrokenFrame: A frame is longer than ``max_bytes`` or cut off.
    """
    frames, position = [], 0
    while position < len(received):
        start = position + _LENGTH.size
        position = start + _frame_length(received[position:start], max_bytes)
        if position > len(received):
            raise BrokenFrame("cut off")
        frames.append(bytes(received[start:position]))
    return frames


def parse_object(content: bytes) -> JsonObject:
    """
    The JSON object in a frame.

    Raises:
        BrokenFrame: It is no JSON object.
    """
    try:
        value: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BrokenFrame("no JSON") from error
    if not isinstance(value, dict):
        raise BrokenFrame("no JSON object")
    return value


def write_all(descriptor: int, content: bytes) -> None:
    """Write every byte to a blocking descriptor; raises OSError."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _frame_length(head: bytes | bytearray, max_bytes: int) -> int:
    if len(head) != _LENGTH.size:
        raise BrokenFrame("cut off")
    length: int = _LENGTH.unpack(head)[0]
    if length > max_bytes:
        raise BrokenFrame(f"{length} bytes announced, {max_bytes} allowed")
    return length


def _read_exactly(descriptor: int, count: int) -> bytes:
    parts: list[bytes] = []
    left = count
    while left:
        # A file in memory gives all of it at once, so that nothing has to be put together.
        part = os.read(descriptor, min(left, _READ_BYTES))
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)

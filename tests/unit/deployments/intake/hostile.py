"""
Hostile files made on the spot: a small pickle assembler and the payload they all carry.

The payload is ``os.system("touch <marker>")`` or a call that would create the marker; tests
assert that it is not there.
"""

import io
import pickle
import struct
from pathlib import Path
from typing import Any

Item = bytes


def short(text: str) -> Item:
    """Push a short text (protocol 4)."""
    raw = text.encode()
    return b"\x8c" + bytes([len(raw)]) + raw


def text(value: str) -> Item:
    """Push a text of any length."""
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def named(module: str, name: str) -> Item:
    """Push a global by STACK_GLOBAL."""
    return text(module) + text(name) + b"\x93"


def proto2_named(module: str, name: str) -> Item:
    """Push a global by GLOBAL."""
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def value(obj: Any) -> Item:
    """Push a plain value as pickle would write it, without header and STOP."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, 2)
    pickler.fast = True  # no memo, so that pieces can be put together
    pickler.dump(obj)
    return buffer.getvalue()[2:-1]


def call(function: Item, *args: Item) -> Item:
    """Push the result of a call."""
    return function + b"(" + b"".join(args) + b"tR"


def stream(*items: Item, protocol: int = 4) -> bytes:
    """A whole pickle of the given items."""
    return b"\x80" + bytes([protocol]) + b"".join(items) + b"."


def instance(module: str, name: str, state: Item) -> Item:
    """Push a bare instance with ``state`` set by BUILD."""
    return named(module, name) + b")\x81" + state + b"b"


def touch(marker: Path) -> str:
    """The command that every payload runs."""
    return f"touch {marker}"


def system(marker: Path) -> Item:
    """Push ``os.system("touch <marker>")``."""
    return call(named("os", "system"), text(touch(marker)))


class Reducer:
    """An object that pickles as the call it is told; its own class is never named."""

    def __init__(self, *reduced: Any) -> None:
        self._reduced = reduced

    def __reduce__(self) -> Any:
        return self._reduced

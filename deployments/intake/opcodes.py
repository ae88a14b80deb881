"""
Opcodes that make plain values and read and write the memo.

Every length is compared with what is left of the file before anything is allocated.
"""

import struct
from collections.abc import Callable
from typing import Any

from deployments.intake.budgets import over
from deployments.intake.machine import Machine, too_long
from deployments.intake.refusals import refusal

Handler = Callable[[Machine], None]
_U1, _U2, _U4, _U8 = (struct.Struct(shape) for shape in ("<B", "<H", "<I", "<Q"))
_I4, _F8 = struct.Struct("<i"), struct.Struct(">d")
_PROTOCOLS = frozenset(range(2, 6))


def _proto(m: Machine) -> None:
    version = m.read_struct(_U1)
    if version not in _PROTOCOLS:
        raise refusal(
            f"gate2: pickle protocol {version} is not read: save with protocol 2 to 5",
            gate="gate2",
            reason="opcode",
        )
    m.protocol = version


def _frame(m: Machine) -> None:
    length = m.read_struct(_U8)
    if length > m.left:
        raise too_long(length)


def _mark(m: Machine) -> None:
    m.push_mark()


def _value(value: Any) -> Handler:
    def push(m: Machine) -> None:
        m.stack.append(value)

    return push


def _number(shape: struct.Struct) -> Handler:
    def push(m: Machine) -> None:
        m.stack.append(m.read_struct(shape))

    return push


def _text(shape: struct.Struct) -> Handler:
    def push(m: Machine) -> None:
        m.stack.append(m.read(m.read_struct(shape)).decode("utf-8"))

    return push


def _bytes(shape: struct.Struct) -> Handler:
    def push(m: Machine) -> None:
        m.stack.append(m.read(m.read_struct(shape)))

    return push


def _bytearray(m: Machine) -> None:
    m.stack.append(bytearray(m.read(m.read_struct(_U8))))


def _integer(shape: struct.Struct) -> Handler:
    def push(m: Machine) -> None:
        length = m.read_struct(shape)
        if not 0 <= length <= m.left:
            raise too_long(length)
        if length > m.limits.max_integer_bytes:
            raise over(f"an integer of {length} bytes")
        m.stack.append(int.from_bytes(m.read(length), "little", signed=True))

    return push


def _empty(kind: type[Any]) -> Handler:
    def push(m: Machine) -> None:
        m.stack.append(kind())

    return push


def _put(shape: struct.Struct) -> Handler:
    def put(m: Machine) -> None:
        m.remember(m.read_struct(shape))

    return put


def _memoize(m: Machine) -> None:
    m.remember(len(m.memo))


def _get(shape: struct.Struct) -> Handler:
    def get(m: Machine) -> None:
        m.stack.append(m.memo[m.read_struct(shape)])

    return get


#: opcode byte -> handler; what is in none of the three tables is refused.
VALUE_OPCODES: dict[int, Handler] = {
    0x80: _proto,
    0x95: _frame,
    ord("("): _mark,
    ord("N"): _value(None),
    0x88: _value(True),
    0x89: _value(False),
    ord("K"): _number(_U1),
    ord("M"): _number(_U2),
    ord("J"): _number(_I4),
    ord("G"): _number(_F8),
    0x8A: _integer(_U1),
    0x8B: _integer(_I4),
    0x8C: _text(_U1),
    ord("X"): _text(_U4),
    0x8D: _text(_U8),
    ord("C"): _bytes(_U1),
    ord("B"): _bytes(_U4),
    0x8E: _bytes(_U8),
    0x96: _bytearray,
    ord(")"): _value(()),
    ord("]"): _empty(list),
    ord("}"): _empty(dict),
    0x8F: _empty(set),
    ord("q"): _put(_U1),
    ord("r"): _put(_U4),
    0x94: _memoize,
    ord("h"): _get(_U1),
    ord("j"): _get(_U4),
}

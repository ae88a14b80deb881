"""
The state of one pickle stream: bytes, position, stack, marks, memo; and bounded reads.

Nothing here knows an opcode; ``opcodes`` and ``object_opcodes`` do.
"""

import struct
from typing import Any

from deployments.intake.budgets import Budget, over
from deployments.intake.globals import Grants
from deployments.intake.refusals import refusal
from deployments.intake.tokens import Pending

_LINE_BYTES = 512


class Machine:
    """One stream being read; nested streams share ``content``, ``grants`` and ``budget``."""

    def __init__(self, content: bytes, grants: Grants, budget: Budget, *, start: int = 0) -> None:
        self.content = content
        self.position = start
        self.end = len(content)
        self.grants = grants
        self.budget = budget
        self.limits = budget.limits
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.below_count = 0
        self.memo: dict[int, Any] = {}
        #: depth of each tuple deeper than one, by id; ids are safe while the tuple is alive, and
        #: a reused id is written again by the opcode that makes the new tuple.
        self.tuple_depths: dict[int, int] = {}
        #: every instance made bare in this stream, by id, kept alive by the value.
        self.made: dict[int, Any] = {}
        self.protocol = 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return self.end - self.position

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes; a length beyond the file is refused before any copy."""
        if count < 0 or count > self.end - self.position:
            raise too_long(count)
        start = self.position
        self.position = start + count
        return self.content[start : self.position]

    def read_struct(self, shape: struct.Struct) -> Any:
        """The one number that ``shape`` describes."""
        if shape.size > self.end - self.position:
            raise truncated()
        value = shape.unpack_from(self.content, self.position)[0]
        self.position += shape.size
        return value

    def read_line(self) -> str:
        """Text up to the next newline, which is consumed."""
        stop = self.content.find(b"\n", self.position, self.position + _LINE_BYTES)
        if stop < 0:
            raise truncated()
        line = self.content[self.position : stop]
        self.position = stop + 1
        return line.decode("utf-8")

    def push_mark(self) -> None:
        """Open a mark: what follows goes onto a stack of its own."""
        self.below.append(self.stack)
        self.below_count += len(self.stack) + 1
        self.stack = []
        if self.below_count > self.limits.max_stack:
            raise over("too many open marks")

    def pop_mark(self) -> list[Any]:
        """Everything since the last mark."""
        items = self.stack
        self.stack = self.below.pop()
        self.below_count -= len(self.stack) + 1
        return items

    def remember(self, key: int) -> None:
        """Put the top of the stack into the memo under ``key``."""
        if key in self.memo:
            raise refusal(
                "gate2: the file writes one memo entry twice: save the model again",
                gate="gate2",
                reason="memo",
            )
        self.budget.spend_memo(key)
        value = self.stack[-1]
        self.memo[key] = value
        if type(value) is Pending:
            value.memo_keys.append(key)

    def settle(self, pending: Pending, value: Any) -> None:
        """Put ``value`` where ``pending`` stood: on top of the stack and in the memo."""
        self.stack[-1] = value
        for key in pending.memo_keys:
            self.memo[key] = value
        # A second BUILD on the same token would find no state to check against.
        pending.finish = _already_built


def _already_built(_machine: Machine, _state: Any) -> Any:
    raise refusal(
        "gate2: the file sets the state of one object twice: save the model again",
        gate="gate2",
        reason="build_target",
    )


def too_long(count: int) -> Exception:
    """The refusal of a length that the file cannot hold."""
    return refusal(
        f"gate2: the file declares {count} bytes where fewer are left: it is damaged or cut "
        "short, save or upload it again",
        gate="gate2",
        reason="length",
    )


def truncated() -> Exception:
    """The refusal of a file that ends too early."""
    return refusal(
        "gate2: the file ends in the middle: upload it again", gate="gate2", reason="truncated"
    )

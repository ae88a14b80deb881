"""
Our own pickle machine: it has the opcodes of this table and no others.

It is no subclass of pickle's, so no opcode, frame rule or memo size of pickle's can be reached:
what decides about a file is what loads it.
"""

import pickletools
from typing import Any

from deployments.intake.budgets import Budget, over
from deployments.intake.containers import CONTAINER_OPCODES
from deployments.intake.globals import Grants
from deployments.intake.machine import Machine, truncated
from deployments.intake.object_opcodes import OBJECT_OPCODES
from deployments.intake.opcodes import VALUE_OPCODES, Handler
from deployments.intake.refusals import refusal

_STOP = ord(".")
_TABLE: tuple[Handler | None, ...] = tuple(
    (VALUE_OPCODES | CONTAINER_OPCODES | OBJECT_OPCODES).get(code) for code in range(256)
)
_NAMES = {ord(op.code): op.name for op in pickletools.opcodes}


def load(content: bytes, grants: Grants, budget: Budget) -> Any:
    """
    The object that the whole of ``content`` (pickle or uncompressed joblib) describes.

    Raises:
        UploadRefused: gate2, with the corpus's reason; "trailing" where bytes follow the end.
        Exception: Whatever a malformed stream provokes (IndexError, KeyError, ValueError, …);
            the caller turns it into a refusal.
    """
    value, end = load_from(content, 0, grants, budget)
    if end != len(content):
        raise refusal(
            "gate2: bytes follow the end of the model: save it again, alone in its file",
            gate="gate2",
            reason="trailing",
        )
    return value


def load_from(content: bytes, start: int, grants: Grants, budget: Budget) -> tuple[Any, int]:
    """One stream that begins at ``start``, and the offset after its STOP."""
    machine = Machine(content, grants, budget, start=start)
    _run(machine)
    if len(machine.stack) != 1 or machine.below:
        raise refusal(
            "gate2: the file ends with values left over: save the model again",
            gate="gate2",
            reason="leftover",
        )
    return machine.stack[0], machine.position


def _run(machine: Machine) -> None:
    content, budget, end = machine.content, machine.budget, machine.end
    max_opcodes, max_stack = budget.limits.max_opcodes, budget.limits.max_stack
    while True:
        if machine.position >= end:
            raise truncated()
        code = content[machine.position]
        machine.position += 1
        budget.opcodes += 1
        if budget.opcodes > max_opcodes:
            raise over(f"more than {max_opcodes} steps")
        if code == _STOP:
            return
        handler = _TABLE[code]
        if handler is None:
            raise _unknown(code)
        handler(machine)
        if len(machine.stack) > max_stack:
            raise over(f"more than {max_stack} values at once")


def _unknown(code: int) -> Exception:
    name = _NAMES.get(code, f"0x{code:02x}")
    return refusal(
        f"gate2: the file uses the pickle instruction {name}, which no scikit-learn model needs: "
        "save the model with a plain pickle.dump or joblib.dump, protocol 2 to 5",
        gate="gate2",
        reason="opcode",
        name=name,
    )

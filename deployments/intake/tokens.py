"""
What stands on the unpickler's stack instead of dangerous things.

A class or constructor that a file names is a token of ours: it cannot be called, stored or
inspected by anything but the opcode that it is meant for.  Native objects are a ``Pending`` until
their state has been checked, so no unchecked number ever reaches compiled code.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deployments.intake.machine import Machine


@dataclass(frozen=True, slots=True, eq=False)
class ClassToken:
    """A class whose instances may be made bare (``cls.__new__(cls)``)."""

    name: str
    cls: type[Any]


@dataclass(frozen=True, slots=True, eq=False)
class ConstructorToken:
    """A constructor of ours that checks its arguments."""

    name: str
    build: Callable[["Machine", tuple[Any, ...]], Any]


@dataclass(slots=True, eq=False)
class Pending:
    """
    An object that awaits its state.

    ``finish`` checks the state and returns the object that takes this one's place on the stack
    and in the memo entries ``memo_keys``.
    """

    name: str
    finish: Callable[["Machine", Any], Any]
    memo_keys: list[int] = field(default_factory=list)

"""Values at fault, gathered while instances are decoded and raised as one ``InvalidInput``."""

from collections.abc import Callable
from dataclasses import dataclass

from cluster.errors import MAX_DETAILS, Fault, InvalidInput

#: JSON Pointer of the value in this row and column.
Locator = Callable[[int, int], str]
#: More of a caller's own text than this says nothing more.
_QUOTED_LENGTH = 40
_WRITTEN_BITS = 128


class CellRefused(Exception):
    """One value cannot be taken; carries the code and the rest of "feature … takes"."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, kw_only=True, slots=True)
class _Located:
    row: int
    column: int
    code: str
    message: str


class Faults:
    """Collects faults of one request in any order; reports the first ``MAX_DETAILS`` by row."""

    def __init__(self, locate: Locator) -> None:
        self._locate = locate
        self._located: list[_Located] = []

    def add(self, row: int, column: int, code: str, message: str) -> None:
        """Note that the value at ``row``, ``column`` is at fault."""
        self._located.append(_Located(row=row, column=column, code=code, message=message))

    def is_full(self, before: int = 0) -> bool:
        """Whether ``MAX_DETAILS`` were added since there were ``before``."""
        return len(self._located) - before >= MAX_DETAILS

    def __len__(self) -> int:
        return len(self._located)

    def raise_any(self) -> None:
        """
        Do nothing where no fault was added.

        Raises:
            InvalidInput: Saying the first fault in words and all of them in its details.
        """
        if not self._located:
            return
        ordered = sorted(self._located, key=lambda fault: (fault.row, fault.column))[:MAX_DETAILS]
        first = ordered[0]
        sentence = f"row {first.row}: {first.message}"
        if len(ordered) > 1:
            sentence += "; details lists the other values at fault"
        raise InvalidInput(sentence, details=tuple(self._fault(fault) for fault in ordered))

    def _fault(self, located: _Located) -> Fault:
        path = self._locate(located.row, located.column)
        return Fault(path=path, code=located.code, message=located.message)


def refuse(path: str, code: str, message: str) -> InvalidInput:
    """The error for one fault that is not a value's but the whole shape's."""
    return InvalidInput(message, details=(Fault(path=path, code=code, message=message),))


def pointer_token(name: str) -> str:
    """``name`` as one reference token of a JSON Pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def quoted(value: object) -> str:
    """A JSON value in words short enough for a sentence."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        shown = value if len(value) <= _QUOTED_LENGTH else value[:_QUOTED_LENGTH] + "…"
        return f'the string "{shown}"'
    if isinstance(value, int | float):
        return f"the number {_short_number(value)}"
    return "a list" if isinstance(value, list | tuple) else "an object"


def _short_number(value: float) -> str:
    # A Python integer of thousands of digits refuses to be written, and nobody would read it.
    if isinstance(value, int) and value.bit_length() > _WRITTEN_BITS:
        return "of over 38 digits"
    return repr(value)

"""
Reads our own fresh pickles with the real machinery and writes down which names they use, and how.

Only ever given bytes that this process has just written from objects it made itself.
"""

import io
import pickle
from collections.abc import Iterator
from typing import Any, ClassVar

import joblib
from joblib.numpy_pickle import NumpyUnpickler

from deployments.intake.globals import Kind, Pair
from deployments.intake.reviewed import ALIASES

PROTOCOLS = (2, 3, 4, 5)


class Record:
    """The pairs met so far and the strongest thing done with each."""

    def __init__(self) -> None:
        self._pairs: dict[int, tuple[Pair, Any]] = {}
        self.kinds: dict[Pair, Kind] = {}

    def named(self, module: str, name: str, found: Any) -> None:
        """A stream named ``found``."""
        pair = ALIASES.get((module, name), (module, name))
        self._pairs[id(found)] = (pair, found)
        self.kinds.setdefault(pair, "REF")

    def used(self, found: Any, kind: Kind) -> None:
        """A stream called ``found`` (CTOR) or made a bare instance of it (CLASS)."""
        pair, _ = self._pairs[id(found)]
        if self.kinds[pair] != "CTOR":
            self.kinds[pair] = kind


class _Recording:
    """Mixed into an unpickler: notes names, calls and instances."""

    record: Record
    stack: list[Any]

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)  # type: ignore[misc]  # the unpickler's
        self.record.named(module, name, found)
        return found

    def load_reduce(self) -> None:
        self.record.used(self.stack[-2], "CTOR")
        pickle._Unpickler.load_reduce(self)  # type: ignore[attr-defined]  # noqa: SLF001 - the pure Python machine

    def load_newobj(self) -> None:
        self.record.used(self.stack[-2], "CLASS")
        pickle._Unpickler.load_newobj(self)  # type: ignore[attr-defined]  # noqa: SLF001 - as above


_OVERRIDES: dict[int, Any] = {
    pickle.REDUCE[0]: _Recording.load_reduce,
    pickle.NEWOBJ[0]: _Recording.load_newobj,
}


class _PickleRecorder(_Recording, pickle._Unpickler):  # noqa: SLF001 - as above
    dispatch: ClassVar[Any] = pickle._Unpickler.dispatch | _OVERRIDES  # noqa: SLF001 - as above


class _JoblibRecorder(_Recording, NumpyUnpickler):  # type: ignore[misc]  # joblib ships no types
    dispatch: ClassVar[Any] = NumpyUnpickler.dispatch | _OVERRIDES


def streams(value: Any) -> Iterator[tuple[str, bytes]]:
    """``value`` in each way it may be saved: (name of the way, bytes)."""
    for protocol in PROTOCOLS:
        yield f"pickle{protocol}", pickle.dumps(value, protocol)
    buffer = io.BytesIO()
    joblib.dump(value, buffer)
    yield "joblib", buffer.getvalue()


def observe(record: Record, value: Any) -> None:
    """Add every name of every way to save ``value``."""
    for way, content in streams(value):
        buffer = io.BytesIO(content)
        recorder: Any = (
            _JoblibRecorder("model", buffer, True) if way == "joblib" else _PickleRecorder(buffer)
        )
        recorder.record = record
        recorder.load()

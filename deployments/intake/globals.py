"""
Gate 2's table of exact names: what each (module, name) pair of a file may become.

``globals.json`` is derived from the installed libraries (``derive_globals``); ``reviewed`` adds
what was read by hand; the operator's list adds classes.  A pair that is in none is refused; a
name with a dot in it always is.
"""

import importlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from deployments.intake import reviewed
from deployments.intake.refusals import refusal, unlisted
from deployments.intake.tokens import ClassToken, ConstructorToken, Pending
from deployments.intake.versions import check_version

if TYPE_CHECKING:
    from deployments.intake.machine import Machine

Kind = Literal["REF", "CLASS", "CTOR"]
Pair = tuple[str, str]
_FILE = Path(__file__).with_name("globals.json")
#: Named tuples: the one kind of class that is made with arguments.
_TUPLE_CLASSES = frozenset({("sklearn.impute._iterative", "_ImputerTriplet")})
#: Named by old joblib files and refused with a word of their own.
_LEGACY = frozenset(
    {("joblib.numpy_pickle", "ZNDArrayWrapper"), ("joblib.numpy_pickle_compat", "ZNDArrayWrapper")}
)


@cache
def derived_kinds() -> dict[Pair, Kind]:
    """The committed list: (module, name) -> kind."""
    listed = json.loads(_FILE.read_text(encoding="utf-8"))["names"]
    return {
        (module, name): kind for module, names in listed.items() for name, kind in names.items()
    }


def resolve(module: str, name: str) -> Any:
    """
    The object itself, imported; only for a pair that a list names.

    Raises:
        UploadRefused: Where the import gives something that calls itself otherwise.
    """
    found = getattr(importlib.import_module(module), name)
    own_name = getattr(found, "__qualname__", getattr(found, "__name__", name))
    if "." in str(own_name) or "<" in str(own_name):
        raise unlisted(f"{module}.{name}")
    return found


class Grants:
    """What one file's names become, and which scikit-learn versions it says it is from."""

    def __init__(self, extra_names: frozenset[str] = frozenset()) -> None:
        self._extra = {_split(name) for name in extra_names}
        self._found: dict[Pair, Any] = {}
        self._kept: dict[int, Any] = {}
        self._classes: set[type[Any]] = set()
        self.versions: dict[str, str] = {}

    def find(self, module: str, name: str) -> Any:
        """
        The token or plain reference for a pair.

        Raises:
            UploadRefused: gate2; reason "dotted", "global", "scipy_distribution" or
                "legacy_joblib".
        """
        pair = (module, name)
        if pair in self._found:
            return self._found[pair]
        if "." in name:
            full = f"{module}.{name}"
            raise refusal(
                f"gate2: the file reaches through {full!r} with a dotted name, which no model "
                "needs: save the model again from a clean session",
                gate="gate2",
                reason="dotted",
                name=full,
            )
        if pair in _LEGACY:
            raise unlisted(f"{module}.{name}", reason="legacy_joblib")
        found = self._grant(reviewed.ALIASES.get(pair, pair))
        self._found[pair] = found
        return found

    def _grant(self, pair: Pair) -> Any:
        from deployments.intake.constructors.registry import (
            CALLABLE_TYPES,
            CONSTRUCTORS,
            FINISHERS,
        )

        module, name = pair
        full = f"{module}.{name}"
        if pair in CONSTRUCTORS:
            return ConstructorToken(full, CONSTRUCTORS[pair])
        if pair in CALLABLE_TYPES:
            return self._keep(pair)
        if name in reviewed.REFERENCES.get(module, ()) or name in reviewed.VALUE_TYPES.get(
            module, ()
        ):
            return self._keep(pair)
        kind = derived_kinds().get(pair)
        if kind == "REF":
            return self._keep(pair)
        if kind == "CLASS" or pair in FINISHERS or pair in self._extra:
            return ClassToken(full, self._class(pair))
        raise unlisted(full)

    def _keep(self, pair: Pair) -> Any:
        found = resolve(*pair)
        self._kept[id(found)] = found
        return found

    def _class(self, pair: Pair) -> type[Any]:
        found = resolve(*pair)
        if not isinstance(found, type) or found.__qualname__ != pair[1]:
            raise unlisted(".".join(pair))
        return found

    def is_reference(self, value: Any) -> bool:
        """True for an object that this file named and that may be kept as a value."""
        return id(value) in self._kept

    def has_granted(self, cls: type[Any]) -> bool:
        """True for a class of which this file was given a bare instance."""
        return cls in self._classes

    def is_value_type(self, value: type[Any]) -> bool:
        """True for a class that may be kept as a value (``dtype=float``)."""
        return value.__name__ in reviewed.VALUE_TYPES.get(value.__module__, ())

    def constructor_for(self, value: Any) -> Any:
        """The constructor behind a kept type such as ``set``, or ``None``."""
        from deployments.intake.constructors.registry import CALLABLE_TYPES

        if not isinstance(value, type) or not self.is_reference(value):
            return None
        return CALLABLE_TYPES.get((value.__module__, value.__qualname__))

    def instance(self, machine: "Machine", token: ClassToken, args: tuple[Any, ...]) -> Any:
        """A bare instance of a listed class, or a pending one where its state is native."""
        from deployments.intake.constructors.registry import FINISHERS

        pair = _split(token.name)
        if pair in FINISHERS:
            self._need_none(token, args)
            return Pending(token.name, FINISHERS[pair])
        if pair in _TUPLE_CLASSES:
            self._classes.add(token.cls)
            maker: Any = token.cls
            return maker._make(args)
        self._need_none(token, args)
        self._classes.add(token.cls)
        made = _bare(token.cls)
        machine.made[id(made)] = made
        return made

    def _need_none(self, token: ClassToken, args: tuple[Any, ...]) -> None:
        if args:
            raise refusal(
                f"gate2: {token.name} is made with arguments: save the model again",
                gate="gate2",
                reason="arguments",
                name=token.name,
            )

    def note_version(self, name: str, version: Any) -> None:
        """Record and judge the scikit-learn version that an estimator's state names."""
        if type(version) is str:
            check_version(version, name)
            self.versions.setdefault(version, name)


def _bare(cls: Any) -> Any:
    return cls.__new__(cls)


def _split(name: str) -> Pair:
    module, _, last = name.rpartition(".")
    return module, last

"""
Derives ``globals.json`` from the installed libraries.

Run as ``python -m deployments.intake.derive_globals``.

Every estimator of the zoo is fitted, saved in each way, and the names in the bytes are written
down with what is done with them.  Nothing but installed code is read.  A test derives again and
compares, so a library upgrade that changes the list is a reviewed change.
"""

import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deployments.intake import reviewed
from deployments.intake.constructors.registry import CALLABLE_TYPES, CONSTRUCTORS
from deployments.intake.derivation.recorder import Record, observe
from deployments.intake.derivation.zoo import specimens
from deployments.intake.globals import Kind, Pair
from deployments.intake.joblib_arrays import WRAPPER

TARGET = Path(__file__).with_name("globals.json")
LIBRARIES = ("scikit-learn", "numpy", "scipy", "joblib", "pandas")


def derive() -> dict[Pair, Kind]:
    """
    (module, name) -> kind for everything that the zoo's files name.

    Raises:
        ValueError: A constructor without a checked one of ours, or a name that is never allowed.
    """
    record = Record()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for specimen in specimens():
            observe(record, specimen.estimator)
    check(record.kinds)
    return record.kinds


def check(kinds: dict[Pair, Kind]) -> None:
    """Refuse to list what nobody has reviewed."""
    checked = CONSTRUCTORS.keys() | CALLABLE_TYPES.keys()
    bare = sorted(pair for pair, kind in kinds.items() if kind == "CTOR" and pair not in checked)
    if bare:
        raise ValueError(f"constructors without a check of ours: {bare}")
    banned = sorted(pair for pair in kinds if pair != WRAPPER and reviewed.is_forbidden(*pair))
    if banned:
        raise ValueError(f"names that are never allowed: {banned}")


def as_json(kinds: dict[Pair, Kind]) -> dict[str, Any]:
    """The committed form: library versions, then module -> name -> kind, all sorted."""
    names: dict[str, dict[str, Kind]] = {}
    for module, name in sorted(kinds):
        names.setdefault(module, {})[name] = kinds[module, name]
    return {"libraries": {name: version(name) for name in LIBRARIES}, "names": names}


def main() -> int:
    """Write the list and say how many names it has."""
    kinds = derive()
    TARGET.write_text(json.dumps(as_json(kinds), indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(kinds)} names written to {TARGET}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

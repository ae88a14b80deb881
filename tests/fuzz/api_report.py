"""The slices of a run of the API's fuzzer, kept in a file so that it can be cut short and go on."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from tests.fuzz.api_counts import Counts, is_clean, total


@dataclass(frozen=True, kw_only=True)
class Slice:
    """What runs in one piece, against one server."""

    role: str
    #: Of Schemathesis.
    phases: tuple[str, ...]
    seed: int
    #: Of each operation, in the phases that make them up.
    examples: int


@dataclass
class Report:
    """The slices that have run, in a file where one is wanted."""

    path: Path | None
    slices: list[dict[str, Any]] = field(default_factory=list)
    #: Of an earlier run, with findings: they run again, however many cases there are.
    pending: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def in_directory(cls, directory: Path | None) -> Self:
        """Today's report, or the last one if it was cut short; without a directory, in memory."""
        if directory is None:
            return cls(None)
        directory.mkdir(parents=True, exist_ok=True)
        for path in sorted(directory.glob("api-*.json"))[-1:]:
            stored = json.loads(path.read_text(encoding="utf-8"))
            if not stored["is_complete"]:
                clean = [each for each in stored["slices"] if is_clean(each)]
                return cls(path, clean, [each for each in stored["slices"] if not is_clean(each)])
        return cls(directory / f"api-{datetime.now(UTC).date().isoformat()}.json")

    @property
    def cases(self) -> int:
        """Of all slices so far."""
        return sum(each["cases"] for each in self.slices)

    def has(self, piece: Slice) -> bool:
        """Whether this very slice has run."""
        return any(_is_of(piece, each) for each in self.slices)

    def add(self, piece: Slice, counts: Counts, *, elapsed_s: float) -> None:
        """Note a slice that has run."""
        self.slices.append(
            asdict(piece)
            | {"phases": list(piece.phases), "revision": _revision()}
            | {"elapsed_s": round(elapsed_s), **counts.to_json()}
        )
        self.pending = [each for each in self.pending if not _is_of(piece, each)]
        self.write(has_ended=False)

    def write(self, *, has_ended: bool) -> dict[str, Any]:
        """The report, written where it has a file; one with findings is never complete."""
        found = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "is_complete": has_ended and all(map(is_clean, [*self.slices, *self.pending])),
            "schemathesis": version("schemathesis"),
            "elapsed_s": sum(each["elapsed_s"] for each in self.slices),
            **total([*self.slices, *self.pending]),
            "slices": [*self.slices, *self.pending],
        }
        if self.path is not None:
            self.path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        return found


def _is_of(piece: Slice, stored: Mapping[str, Any]) -> bool:
    wanted = asdict(piece) | {"phases": list(piece.phases)}
    return wanted.items() <= stored.items()


def _revision() -> str:
    """The commit that is being tried, where git knows it."""
    command = ["git", "describe", "--always", "--dirty"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    return said.stdout.strip() or "unknown"

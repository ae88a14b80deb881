"""
Each fault alone, seed by seed: ``make chaos-matrix``, or

    python -m tests.chaos.matrix [--cases a,b] [--seeds 1,2,3,4,5] [--rate 200] [--seconds 60]

Adds each run to ``docs/chaos/matrix-<date>.json`` as it ends and skips those that are there
already: what was cut short goes on, on another day with ``--date``.  Exits with 1 if a run of the
file does not prove its case.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.benchmarks.run import machine_facts
from tests.chaos.cases import CASES, Case
from tests.chaos.run import REST_S, Plan, run
from tests.chaos.stages import Stage, staged
from tests.chaos.tried import tried
from tests.system.platform import REPOSITORY

REPORTS = REPOSITORY / "docs" / "chaos"
#: The fault comes so late at most: what goes before is how the platform answers in peace.
FIRST_FAULT_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run to be made."""

    case: Case
    seed: int
    rate: float
    seconds: float

    @property
    def identity(self) -> dict[str, Any]:
        """What tells it from others in a document."""
        return {
            "case": self.case.name,
            "seed": self.seed,
            "rate": self.rate,
            "seconds": self.seconds,
        }

    def plan(self) -> Plan:
        """As a run takes it; a fault that a short run has no time for lasts half of it."""
        return Plan(
            seed=self.seed,
            seconds=self.seconds,
            rate=self.rate,
            faults=(self.case.fault,),
            first_fault_s=min(FIRST_FAULT_S, self.seconds / 6),
            stopped_s=self.case.stopped_s,
            rest_s=self.case.outage_s + REST_S,
            is_edged=self.case.is_edged,
        )


class Document:
    """The runs so far, in a file that is whole at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content: dict[str, Any] = {"machine": machine_facts(), "runs": []}
        if path.exists():
            self._content = json.loads(path.read_text(encoding="utf-8"))

    @property
    def runs(self) -> list[dict[str, Any]]:
        """Every run, oldest first."""
        return list(self._content["runs"])

    def has(self, trial: Trial) -> bool:
        """Whether it was made."""
        return any(trial.identity.items() <= made.items() for made in self.runs)

    def add(self, made: dict[str, Any]) -> None:
        """One more, written at once."""
        self._content["runs"].append(made)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        whole = self._path.with_suffix(".part")
        whole.write_text(json.dumps(self._content, indent=1) + "\n", encoding="utf-8")
        whole.replace(self._path)


def main() -> int:
    """Make the runs that are missing; the exit code."""
    arguments = _arguments()
    document = Document(REPORTS / f"matrix-{arguments.date}.json")
    missing = [trial for trial in _trials(arguments) if not document.has(trial)]
    for _, trials in groupby(missing, key=lambda trial: trial.case.stage):
        for made in _made(list(trials)):
            document.add(made)
            print(_line(made), flush=True)
    unproven = [made for made in document.runs if made["unproven"]]
    print(f"{len(document.runs)} runs, {len(unproven)} of them do not prove their case")
    return int(bool(unproven))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.matrix")
    parser.add_argument("--cases", default=",".join(CASES), help="names, comma-separated")
    parser.add_argument("--seeds", default="1,2,3,4,5")
    parser.add_argument("--rate", type=float, default=200.0, help="predictions a second")
    parser.add_argument("--seconds", type=float, default=60.0, help="of a run at least")
    parser.add_argument("--date", default=f"{datetime.now(UTC):%Y-%m-%d}", help="names the file")
    return parser.parse_args()


def _trials(arguments: argparse.Namespace) -> list[Trial]:
    names = arguments.cases.split(",")
    if unknown := set(names) - set(CASES):
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(CASES)}")
    return [
        Trial(case=CASES[name], seed=int(seed), rate=arguments.rate, seconds=arguments.seconds)
        for name in sorted(names, key=list(CASES).index)
        for seed in arguments.seeds.split(",")
    ]


def _made(trials: list[Trial]) -> Iterator[dict[str, Any]]:
    """Results on one platform, or on another one once the first is not whole again."""
    waiting = list(trials)
    while waiting:
        faults = {trial.case.fault for trial in waiting}
        is_edged = any(trial.case.is_edged for trial in waiting)
        with (
            tempfile.TemporaryDirectory(prefix="slipway-chaos-") as directory,
            staged(Path(directory), faults, is_edged=is_edged) as stage,
        ):
            while waiting:
                made = _run(stage, waiting.pop(0))
                yield made
                if made["whole_after_s"] is None:
                    break


def _run(stage: Stage, trial: Trial) -> dict[str, Any]:
    stage.await_whole()
    history = run(stage, trial.plan())
    ended_s = time.monotonic()
    unproven = trial.case.unproven(history)
    try:
        stage.await_whole()
    except AssertionError:
        unproven.append("the platform was not whole again")
        whole_after_s = None
    else:
        whole_after_s = round(time.monotonic() - ended_s, 1)
    return (
        trial.identity
        | {"unproven": unproven, "edge": trial.case.is_edged, "whole_after_s": whole_after_s}
        | tried()
        | history.report()
    )


def _line(made: dict[str, Any]) -> str:
    verdict = "; ".join(made["unproven"]) or "proven"
    (fault,) = made["faults"]
    return (
        f"{made['case']} seed {made['seed']}: {verdict}"
        f" ({made['failed']} of {made['predictions']} failed {made['failures'] or ''},"
        f" p50 {made['p50_ms']} p99 {made['p99_ms']} max {made['max_ms']} ms,"
        f" sent late p99 {made['sent_late_p99_ms']} ms,"
        f" {made['promotions']} promotions, writes refused {made['refusals'] or 0};"
        f" {fault['what']})"
    )


if __name__ == "__main__":
    sys.exit(main())

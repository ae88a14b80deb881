"""
Faults at random on a platform of its own: ``make chaos``, or

    python -m tests.chaos [--seed N] [--seconds S] [--rate R] [--faults a,b,c] [--edge true]

Prints the seed, writes ``docs/chaos/<date>-<seed>.json`` and a timeline beside it, and exits with
1 if the history holds a violation or more than 0.01 % of the predictions failed.
"""

import argparse
import json
import random
import secrets
import sys
import tempfile
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.nemesis import STOPPED_S, Nemesis
from tests.chaos.run import REST_S, Plan, run
from tests.chaos.stages import FILL_DISK, KILL_HEAD, SLOW_VALKEY, staged
from tests.chaos.timeline import drawing
from tests.chaos.tried import tried
from tests.system.platform import REPOSITORY, Platform

ERROR_BUDGET = 0.0001
#: One fault in so many seconds.
PACE_S = 15.0
REPORTS = REPOSITORY / "docs" / "chaos"


def main() -> int:
    """Run as asked; the exit code."""
    arguments = _arguments()
    plan = _plan(arguments)
    print(f"seed {plan.seed}: {plan.rate:.0f}/s for {plan.seconds:.0f} s, {', '.join(plan.faults)}")
    with (
        _directory(arguments.keep) as directory,
        staged(
            Path(directory),
            plan.faults,
            is_edged=plan.is_edged,
            short_path=arguments.short_path,
        ) as stage,
    ):
        history = run(stage, plan)
    report = (
        history.report()
        | tried()
        | {
            "seed": plan.seed,
            "seconds": plan.seconds,
            "rate": plan.rate,
            "short_path": arguments.short_path,
            "edge": arguments.edge,
        }
    )
    REPORTS.mkdir(parents=True, exist_ok=True)
    name = f"{datetime.now(UTC):%Y-%m-%d}-{plan.seed}"
    text = json.dumps(report, indent=2)
    (REPORTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    (REPORTS / f"{name}.svg").write_text(drawing(history), encoding="utf-8")
    print(text)
    is_over_budget = len(history.failed) > ERROR_BUDGET * len(history.plain)
    return int(bool(history.violations()) or is_over_budget)


def _directory(kept: str) -> AbstractContextManager[str]:
    """Where the platform keeps its files; with its logs, where somebody wants to read them."""
    if not kept:
        return tempfile.TemporaryDirectory(prefix="slipway-chaos-")
    Path(kept).mkdir(parents=True)
    return nullcontext(kept)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--faults", default="", help="names in order; none: drawn by the seed")
    parser.add_argument(
        "--stopped", type=float, default=STOPPED_S, help="seconds that what is stopped stays so"
    )
    parser.add_argument("--keep", default="", help="a new directory for all files of the platform")
    for name, what in (("short-path", "answer in the ingress"), ("edge", "ask the shipped edge")):
        parser.add_argument(f"--{name}", choices=["true", "false"], default="false", help=what)
    return parser.parse_args()


def _plan(arguments: argparse.Namespace) -> Plan:
    known = sorted(Nemesis(Platform.create(Path("unused")), random.Random()).faults())
    dice = random.Random(arguments.seed)
    count = max(int(arguments.seconds / PACE_S), 1)
    usual = [name for name in known if name not in {FILL_DISK, SLOW_VALKEY, KILL_HEAD}]
    drawn = [dice.choice(usual) for _ in range(count)]
    faults = tuple(arguments.faults.split(",")) if arguments.faults else tuple(drawn)
    if unknown := set(faults) - set(known):
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    return Plan(
        seed=arguments.seed,
        seconds=arguments.seconds,
        rate=arguments.rate,
        faults=faults,
        stopped_s=arguments.stopped,
        rest_s=REST_S,
        is_edged=arguments.edge == "true",
    )


if __name__ == "__main__":
    sys.exit(main())

"""
A matrix as a table for docs/faults.md:

    python -m tests.chaos.table docs/chaos/matrix-2026-11-30.json
"""

import argparse
import json
from itertools import groupby
from pathlib import Path
from typing import Any

#: The p99 is the median of the runs', the longest that of all of them.
HEAD = """\
| case | runs | rate a second | predictions | failed | wrong | p99 ms | longest ms | revisions |
|---|--:|--:|--:|--:|--:|--:|--:|---|"""


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.table")
    parser.add_argument("document", type=Path)
    runs = json.loads(parser.parse_args().document.read_text(encoding="utf-8"))["runs"]
    print(HEAD)
    for _, same in groupby(sorted(runs, key=_kind), key=_kind):
        print(row(list(same)))


def _kind(run: dict[str, Any]) -> tuple[str, float]:
    return run["case"], run["rate"]


def row(runs: list[dict[str, Any]]) -> str:
    """One line for the runs of one case at one rate."""
    name, rate = _kind(runs[0])
    p99s = sorted(run["p99_ms"] for run in runs)
    cells = [
        name,
        len(runs),
        f"{rate:.0f}",
        sum(run["predictions"] for run in runs),
        sum(run["failed"] for run in runs),
        sum(len(run["violations"]) for run in runs),
        f"{p99s[len(p99s) // 2]:.0f}",
        f"{max(run['max_ms'] for run in runs):.0f}",
        ", ".join(sorted({run["revision"] for run in runs})),
    ]
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()

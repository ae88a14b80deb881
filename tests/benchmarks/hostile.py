"""
Honest predictions beside hostile clients: ``make bench-hostile``.

A platform of its own behind a real edge is asked at a fixed rate, timed from when each request was
due, alone and then beside each kind of attack in turn.  All of it shares the machine: read the
ratios, and only of a machine that has nothing else to do.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.run import machine_facts
from tests.system.honest import predicting
from tests.system.hostile import ATTACKS
from tests.system.hostile_stage import Stage, attacked, opened

MIB = 1024 * 1024
ALONE = "nobody"


def measured(stage: Stage, names: list[str], *, seconds: float, rate_per_s: float) -> list[Any]:
    """One row an attack, each right after a row of nobody that it is compared with."""
    rows: list[dict[str, Any]] = []
    for name in names:
        alone = _run(stage, ALONE, seconds=seconds, rate_per_s=rate_per_s)
        row = _run(stage, name, seconds=seconds, rate_per_s=rate_per_s)
        rows += [alone, row | {"p99_ratio": round(row["p99_ms"] / alone["p99_ms"], 2)}]
        print(json.dumps(rows[-2:]), file=sys.stderr, flush=True)
    return rows


def _run(stage: Stage, name: str, *, seconds: float, rate_per_s: float) -> dict[str, Any]:
    if name == ALONE:
        with predicting(stage.caller(rate_per_s)) as honest:
            time.sleep(seconds)
        return {"attack": name, **honest.summary()}
    honest, endings, grown = attacked(stage, [name], seconds=seconds, rate_per_s=rate_per_s)
    row = {"attack": name, **honest.summary(), "grown_mib": round(grown / MIB, 1)}
    return {**row, **endings[name]}


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="of each attack")
    parser.add_argument("--rate", type=float, default=50, help="honest requests a second")
    parser.add_argument("--attacks", default=",".join(ATTACKS))
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/hostile.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hostile-") as directory, opened(Path(directory)) as at:
        rows = measured(
            at, options.attacks.split(","), seconds=options.seconds, rate_per_s=options.rate
        )
    found = {"machine": machine_facts(), "seconds": options.seconds, "rate_per_s": options.rate}
    options.out.write_text(json.dumps(found | {"runs": rows}, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        ratio = row.get("p99_ratio", "")
        print(row["attack"], row["p99_ms"], ratio, row["statuses"], row.get("grown_mib", ""))


if __name__ == "__main__":
    main()

"""Prints what decoding and encoding cost as JSON: microseconds a call, best of five rounds."""

import sys
import timeit
from collections.abc import Callable

import numpy as np
import orjson

from cluster.contracts import Feature
from deployments.signatures.answers import to_json
from deployments.signatures.instances import decode_instances
from tests.unit.deployments.signatures.signatures import frame_signature, matrix_signature

IRIS = matrix_signature(4)
WIDE = matrix_signature(30)
MIXED = frame_signature(
    Feature(name="age", type="number", nullable=True),
    Feature(name="city", type="string", nullable=False, dtype="str", categories=("Basel", "Bern")),
    Feature(name="seen", type="datetime", nullable=False, dtype="datetime64[us]"),
)
ROW = [[5.1, 3.5, 1.4, 0.2]]
RECORD = [{"x0": 5.1, "x1": 3.5, "x2": 1.4, "x3": 0.2}]
ROWS = [[row * column % 97 + 0.5 for column in range(30)] for row in range(1000)]
RECORDS = [{f"x{index}": value for index, value in enumerate(row)} for row in ROWS]
PERSON = {"age": 41, "city": "Bern", "seen": "2026-03-29T12:00:00Z"}
PROBABILITIES = np.random.default_rng(0).random((1, 3))


def microseconds(work: Callable[[], object]) -> float:
    """Time of one call in µs."""
    timer = timeit.Timer(work)
    calls, _ = timer.autorange()
    return round(min(timer.repeat(5, max(1, calls // 4))) / max(1, calls // 4) * 1e6, 2)


def main() -> None:
    """Measure each case and print one JSON document."""
    cases: dict[str, Callable[[], object]] = {
        "row of 4 floats": lambda: decode_instances(IRIS, ROW, max_rows=1000),
        "record of 4 floats": lambda: decode_instances(IRIS, RECORD, max_rows=1000),
        "1000 x 30 floats": lambda: decode_instances(WIDE, ROWS, max_rows=1000),
        "1000 x 30 in records": lambda: decode_instances(WIDE, RECORDS, max_rows=1000),
        "mixed record": lambda: decode_instances(MIXED, [PERSON], max_rows=1000),
        "1000 mixed records": lambda: decode_instances(MIXED, [PERSON] * 1000, max_rows=1000),
        "answer of one row": lambda: to_json(PROBABILITIES),
    }
    measured = {name: microseconds(work) for name, work in cases.items()}
    sys.stdout.buffer.write(orjson.dumps(measured, option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    main()

"""What commands print: one JSON document or lines for a person on stdout, all else on stderr."""

import contextlib
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def emit(document: object, lines: Iterable[str], *, as_json: bool) -> None:
    """Print the document, or the lines that say the same to a person."""
    if as_json:
        print(json.dumps(document, ensure_ascii=False))
        return
    for line in lines:
        print(line)


def say(sentence: str) -> None:
    """Tell a person something that is no result; where nobody reads any more, nobody is told."""
    # `slipway up 2>&1 | head` must still end what it has started.
    with contextlib.suppress(OSError):
        print(sentence, file=sys.stderr, flush=True)


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> list[str]:
    """Rows as aligned lines under a heading; an absent value is a dash."""
    cells = [list(columns), *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value)) or "-"
    return str(value)

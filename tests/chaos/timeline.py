"""A run as a picture: answers and failures, the slowest answers, and the faults, by the second."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from html import escape

from tests.chaos.history import Harm, History

WIDTH, HEIGHT, MARGIN, ROW = 900, 90, 8, 12
#: The slowest answers, from the least to the most that is told apart.
LEAST_S, MOST_S = 0.001, 30.0
GREEN, RED, GREY, BLUE = "#8fc9a3", "#b3261e", "#333", "#1f5f8b"


def drawing(history: History) -> str:
    """SVG of three panels over one axis of time: counts, slowest answers, a row for each fault."""
    last_s = max((found.done_s for found in history.plain), default=1.0)
    scale = WIDTH / max([last_s, *(harm.ended_s for harm in history.faults)])
    rows = list(dict.fromkeys(kind_of(harm) for harm in history.faults))
    parts = [*_counts(history, scale), *_slowest(history, scale), *_faults(history, rows, scale)]
    height = 2 * (HEIGHT + MARGIN) + ROW * (len(rows) + 2)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + 160} {height}"'
        ' font-family="sans-serif" font-size="10"><rect width="100%" height="100%" fill="white"/>'
        f"{''.join(parts)}</svg>\n"
    )


def kind_of(harm: Harm) -> str:
    """What was done, without whom it met and for how long."""
    return re.sub(r"\W*\d.*", "", harm.what)


def _counts(history: History, scale: float) -> Iterator[str]:
    asked = Counter(int(found.due_s) for found in history.plain)
    failed = Counter(int(found.due_s) for found in history.failed)
    most = max(asked.values(), default=1)
    for counted, colour in ((asked, GREEN), (failed, RED)):
        for second, count in sorted(counted.items()):
            height = HEIGHT * count / most
            yield _box(second * scale, HEIGHT - height, scale, height, colour)
    yield _text(WIDTH + 6, ROW, f"{most} predictions a second")
    yield _text(WIDTH + 6, 2 * ROW, "green answered, red failed")


def _slowest(history: History, scale: float) -> Iterator[str]:
    top = HEIGHT + MARGIN
    slowest: defaultdict[int, float] = defaultdict(lambda: LEAST_S)
    for found in history.plain:
        slowest[int(found.due_s)] = max(slowest[int(found.due_s)], found.latency_s)
    for mark_s in (0.01, 0.1, 1.0, 10.0):
        y = top + HEIGHT * (1 - _share(mark_s))
        yield _box(0, y, WIDTH, 0.3, GREY)
        yield _text(WIDTH + 6, y + 3, f"{mark_s:g} s")
    for second, latency_s in sorted(slowest.items()):
        y = top + HEIGHT * (1 - _share(latency_s))
        yield _box(second * scale, y, max(scale, 1.5), 1.5, BLUE)
    yield _text(WIDTH + 50, top + ROW, "slowest answer")


def _share(latency_s: float) -> float:
    """Where between ``LEAST_S`` and ``MOST_S``, by logarithms."""
    return math.log(max(latency_s, LEAST_S) / LEAST_S) / math.log(MOST_S / LEAST_S)


def _faults(history: History, rows: list[str], scale: float) -> Iterator[str]:
    top = 2 * (HEIGHT + MARGIN)
    for harm in history.faults:
        y = top + ROW * rows.index(kind_of(harm))
        width = max((harm.ended_s - harm.began_s) * scale, 2)
        yield _box(harm.began_s * scale, y, width, ROW - 3, GREY)
    for n, kind in enumerate(rows):
        yield _text(WIDTH + 6, top + ROW * n + 8, kind)
    bottom = top + ROW * (len(rows) + 1)
    seconds = WIDTH / scale
    yield _text(0, bottom, f"0 to {seconds:.0f} seconds")


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
    )


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'

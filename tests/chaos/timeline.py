"""A run as a picture: answers and failures by the second, faults as grey columns."""

from collections import Counter
from html import escape

from tests.chaos.history import History

WIDTH, HEIGHT, TOP = 900, 160, 40


def drawing(history: History) -> str:
    """SVG: green bars answered, red bars failed."""
    scale = WIDTH / max((found.due_s for found in history.plain), default=1.0)
    failed = Counter(int(found.due_s) for found in history.failed)
    asked = Counter(int(found.due_s) for found in history.plain)
    most = max(asked.values(), default=1)
    bars = "".join(
        _bar(second, count, most, scale, "#8fc9a3")
        + _bar(second, failed[second], most, scale, "#b3261e")
        for second, count in sorted(asked.items())
    )
    lines = "".join(
        f'<rect x="{harm.began_s * scale:.1f}" y="{TOP}" height="{HEIGHT}" fill="#333"'
        f' width="{max((harm.ended_s - harm.began_s) * scale, 1):.1f}" fill-opacity="0.3"/>'
        f'<text x="{harm.began_s * scale + 2:.1f}" y="{TOP - 4 - 11 * (n % 3)}">'
        f"{escape(harm.what)}</text>"
        for n, harm in enumerate(history.faults)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + 160} {TOP + HEIGHT + 20}"'
        ' font-family="sans-serif" font-size="10"><rect width="100%" height="100%" fill="white"/>'
        f'{bars}{lines}<text x="0" y="{TOP + HEIGHT + 14}">seconds; green answered, red failed'
        "</text></svg>\n"
    )


def _bar(second: int, count: int, most: int, scale: float, colour: str) -> str:
    height = HEIGHT * count / most
    return (
        f'<rect x="{second * scale:.1f}" y="{TOP + HEIGHT - height:.1f}" width="{scale:.1f}"'
        f' height="{height:.1f}" fill="{colour}"/>'
        if count
        else ""
    )

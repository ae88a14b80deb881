"""
Plays the simulator's traces to our policy and to Serve's, and writes ``docs/scaling.md``'s figures.

    python -m tests.benchmarks.scaling

Rewrites the table between the page's markers and draws ``docs/scaling.svg``.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.unit.cluster.scaling_simulator import (
    DEFAULTS,
    TRACES,
    Ours,
    Played,
    Policy,
    ServesDefault,
    play,
)

DOCS = Path(__file__).resolve().parents[2] / "docs"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->"
SECONDS = 600
WIDTH, HEIGHT, MOST = 600, 110, 17
COLOURS = {"ours": "#0a7d33", "Serve, as it comes": "#b3261e", "Serve, tuned": "#1f5fbf"}


def policies() -> dict[str, Callable[[], Policy]]:
    """Makers of the policies by name."""
    made: dict[str, Callable[[], Policy]] = {"ours": Ours}
    for name, config in DEFAULTS.items():
        made[name] = partial(ServesDefault, **config)
    return made


def main() -> None:
    """Play, write, draw."""
    results = {
        trace: {
            name: play(make(), TRACES[trace], seconds=SECONDS) for name, make in policies().items()
        }
        for trace in TRACES
    }
    page = DOCS / "scaling.md"
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(before + BEGIN + table(results) + END + after, encoding="utf-8")
    (DOCS / "scaling.svg").write_text(drawing(results), encoding="utf-8")


def table(results: dict[str, dict[str, Played]]) -> str:
    """The figures as Markdown."""
    lines = [
        "| trace | policy | s under capacity | longest wait, s | replicas too many, mean | turns |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for trace, by_policy in results.items():
        lines += [
            f"| {trace} | {name} | {played.late_s} | {played.worst_queue_age_s:.1f} |"
            f" {played.overshoot:.1f} | {played.changes} |"
            for name, played in by_policy.items()
        ]
    return "\n".join(lines) + "\n"


def drawing(results: dict[str, dict[str, Played]]) -> str:
    """Replicas over time, one strip a trace; grey is what the load needs."""
    strips = [
        strip(trace, by_policy, top=n * (HEIGHT + 30) + 40)
        for n, (trace, by_policy) in enumerate(results.items())
    ]
    legend = "".join(
        f'<text x="{60 + n * 170}" y="18" fill="{colour}">{name}</text>'
        for n, (name, colour) in enumerate(COLOURS.items())
    )
    height = len(results) * (HEIGHT + 30) + 50
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + 80} {height}"'
        ' font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>{legend}\n'
        + "\n".join(strips)
        + "</svg>\n"
    )


def strip(trace: str, by_policy: dict[str, Played], *, top: int) -> str:
    """One trace."""
    ideal = by_policy["ours"].ideal
    area = f"{line(ideal, top)} {60 + WIDTH},{top + HEIGHT} 60,{top + HEIGHT}"
    lines = "".join(
        f'<polyline fill="none" stroke="{COLOURS[name]}" stroke-width="1.5"'
        f' points="{line(played.replicas, top)}"/>'
        for name, played in by_policy.items()
    )
    return (
        f'<text x="4" y="{top + 14}">{trace}</text>'
        f'<polygon fill="#ddd" points="{area}"/>{lines}'
        f'<text x="{WIDTH + 62}" y="{top + HEIGHT}">0</text>'
        f'<text x="{WIDTH + 62}" y="{top + 10}">{MOST}</text>'
    )


def line(counts: list[int], top: int) -> str:
    """Points, a pixel a second, drawn where the count changes."""
    points = []
    for second, count in enumerate(counts):
        is_end = second in (0, len(counts) - 1)
        if is_end or count != counts[second - 1] or count != counts[second + 1]:
            points.append(f"{60 + second},{top + HEIGHT - count * HEIGHT // MOST}")
    return " ".join(points)


if __name__ == "__main__":
    main()

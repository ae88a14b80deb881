"""
The last run as a PNG: requests a second, and CPU time a request, of every server.

Run by an environment of its own, made on first use: the project itself draws nothing.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

MODELS = ("iris", "forest")
CONNECTIONS = 64


def draw(document: dict[str, Any], target: Path) -> None:
    """Bars of both models at 64 connections, two panels a model."""
    import matplotlib as mpl  # type: ignore[import-not-found]  # in an environment of its own

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    servers = _servers(document)
    figure, panels = plt.subplots(2, 2, figsize=(11, 0.5 * len(servers) * 2 + 2))
    for column, model in enumerate(MODELS):
        for row, member in enumerate(("requests_per_s", "cpu_us_all")):
            values = [_value(runs, model, member) for _, runs in servers]
            panel = panels[row][column]
            bars = panel.barh([name for name, _ in servers], values)
            panel.bar_label(bars, fmt="%.0f", padding=3)
            panel.invert_yaxis()
            panel.margins(x=0.15)
            what = "requests/s" if row == 0 else "CPU µs a request"
            panel.set_title(f"{model}, one row, {CONNECTIONS} connections: {what}", fontsize=9)
    figure.tight_layout()
    figure.savefig(target, dpi=110)


def _servers(document: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    ours = [
        ("Slipway" if found["is_short_path"] else "Slipway by Predictors", found["closed"])
        for found in document.get("platforms", ())
    ]
    return ours + [(peer["name"], peer["closed"]) for peer in document.get("peers", ())]


def _value(runs: list[dict[str, Any]], model: str, member: str) -> float:
    key = (model, CONNECTIONS)
    return next((run[member] for run in runs if (run["target"], run["connections"]) == key), 0.0)


def _environment(place: Path) -> Path:
    """The interpreter of an environment with matplotlib."""
    if not (place / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        subprocess.run([str(place / "bin" / "pip"), "install", "-q", "matplotlib"], check=True)
        (place / "installed").touch()
    return place / "bin" / "python"


def main() -> None:
    """Draw, if this interpreter can; else have one that can do it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("documents", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/latest.png"))
    parser.add_argument("--environment", type=Path, help="where the drawing environment is kept")
    options = parser.parse_args()
    if options.environment is not None:
        python = _environment(options.environment)
        paths = [str(path) for path in options.documents]
        command = [str(python), str(Path(__file__)), *paths, "--out", str(options.out)]
        subprocess.run(command, check=True)
        return
    document: dict[str, Any] = {}
    for path in options.documents:
        if path.exists():
            document |= json.loads(path.read_text())
    draw(document, options.out)


if __name__ == "__main__":
    main()

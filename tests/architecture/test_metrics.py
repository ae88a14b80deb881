"""A metric that nothing records is a promise on a dashboard that no line keeps."""

import re
from pathlib import Path

from cluster import metrics

REPOSITORY = Path(__file__).parents[2]


def test_every_metric_is_recorded_somewhere() -> None:
    names = {name for name, value in vars(metrics).items() if isinstance(value, metrics.Metric)}
    code = "\n".join(
        file.read_text()
        for package in ("cluster", "deployments", "serve_app")
        for file in (REPOSITORY / package).rglob("*.py")
        if file.name != "metrics.py"
    )

    silent = {name for name in names if not re.search(rf"\b{name}\b(?!,\n)", code)}

    assert silent == set()


def test_every_metric_is_listed() -> None:
    defined = {value for value in vars(metrics).values() if isinstance(value, metrics.Metric)}

    assert defined == set(metrics.ALL)

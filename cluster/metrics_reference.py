"""Renders docs/metrics.md from the metrics: ``python -m cluster.metrics_reference``."""

import sys
from pathlib import Path

from cluster.metrics import ALL, Metric

_HEADING = """# Metrics

Ray's agent on each node exports them under `ray_<name>`; Prometheus finds the agents by
`/api/prometheus/sd` on Ray's dashboard (`cluster/prometheus/prometheus.yml`). Beside the labels
below each carries Ray's own: `application`, `deployment` and `replica` of the process that counted.
`model` and `version` are ids, never a caller. Histograms are read by their `_bucket`, `_sum` and
`_count`. This page is generated from `cluster/metrics.py`; a test compares.

| name | kind | unit | labels | what it counts | buckets |
|---|---|---|---|---|---|
"""
#: What the end of a name says of the unit.
_UNITS = {"_seconds": "seconds", "_bytes": "bytes", "_rows": "rows", "_target": "replicas"}


def render() -> str:
    """The whole page as Markdown."""
    return _HEADING + "\n".join(map(_row, sorted(ALL, key=lambda metric: metric.name))) + "\n"


def exported_names(metric: Metric) -> list[str]:
    """Names under which Prometheus knows a metric."""
    name = f"ray_{metric.name}"
    if metric.kind == "histogram":
        return [f"{name}_{part}" for part in ("bucket", "sum", "count")]
    return [name]


def _row(metric: Metric) -> str:
    unit = next((unit for end, unit in _UNITS.items() if metric.name.endswith(end)), "")
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    bounds = ", ".join(f"{bound:g}" for bound in metric.bounds)
    cells = (f"`{metric.name}`", metric.kind, unit or "count", labels, metric.description, bounds)
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    page = Path(__file__).parents[1] / "docs" / "metrics.md"
    page.write_text(render(), encoding="utf-8")
    sys.stderr.write(f"wrote {page}\n")

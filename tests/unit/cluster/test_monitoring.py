"""
Metrics, alerts, dashboard and runbook agree with each other and with the code.

Rules and queries are given to Debian's own promtool; without it those tests skip.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

from cluster import metrics_reference
from cluster.metrics import ALL
from serve_app.api.errors import STATUS
from tests.unit.cluster.monitoring import (
    PROMETHEUS,
    REPOSITORY,
    needs_promtool,
    rules,
    run_promtool,
)

DASHBOARD: dict[str, Any] = json.loads(
    (REPOSITORY / "cluster/grafana/dashboards/slipway.json").read_text()
)
RUNBOOK = (REPOSITORY / "docs" / "runbook.md").read_text()
#: Codes of 5xx that no prediction can have: they come at start-up or with an upload.
NOT_OF_PREDICTIONS = {"storage_full", "insecure_settings"}
#: Held back on purpose, and told by an alert of its own.
NOT_A_FAILURE = {"model_quarantined"}


def queries() -> list[str]:
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def own_names(expression: str) -> set[str]:
    return set(re.findall(r"\bray_slipway_\w+", expression))


def server_codes() -> set[str]:
    return {
        str(error.code)  # type: ignore[attr-defined]  # each is a PlatformError
        for error, status in STATUS.items()
        if status >= 500
    }


def test_the_page_of_metrics_is_current() -> None:
    page = (REPOSITORY / "docs" / "metrics.md").read_text()

    assert page == metrics_reference.render(), "run: python -m cluster.metrics_reference"


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_every_metric_is_shown_by_a_panel(metric: Any) -> None:
    shown = set().union(*(own_names(query) for query in queries()))

    assert shown & set(metrics_reference.exported_names(metric))


def test_only_metrics_that_exist_are_asked_for() -> None:
    exported = {name for metric in ALL for name in metrics_reference.exported_names(metric)}
    asked = [*queries(), *(rule["expr"] for rule in (*rules("alert"), *rules("record")))]

    assert set().union(*map(own_names, asked)) <= exported


def test_only_labels_that_exist_are_asked_for() -> None:
    labels = {
        name: {*metric.labels, "le"}
        for metric in ALL
        for name in metrics_reference.exported_names(metric)
    }
    for query in queries():
        for name, matchers in re.findall(r"\b(ray_slipway_\w+)\{([^}]*)\}", query):
            assert set(re.findall(r"(\w+)[!=]", matchers)) <= labels[name], query


def test_what_counts_as_our_failure_is_the_table_of_errors() -> None:
    expected = server_codes() - NOT_OF_PREDICTIONS - NOT_A_FAILURE

    for rule in rules("record"):
        if "failures" in rule["record"]:
            (codes,) = re.findall(r'code=~"([^"]*)"', rule["expr"])
            assert set(codes.split("|")) == expected


@pytest.mark.parametrize("alert", [rule["alert"] for rule in rules("alert")])
def test_every_alert_leads_to_its_section(alert: str) -> None:
    (rule,) = [rule for rule in rules("alert") if rule["alert"] == alert]

    assert rule["annotations"]["runbook"] == f"docs/runbook.md#{alert.lower()}"
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert_section(alert)


@pytest.mark.parametrize("code", sorted(server_codes()))
def test_every_code_of_a_5xx_has_a_section(code: str) -> None:
    assert_section(code)


def assert_section(title: str) -> None:
    (section,) = re.findall(rf"^## {title}\n(.*?)(?=^##? |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)

    for part in ("**Symptom.**", "**First command.**", "**Safe action.**"):
        assert part in section, f"{title} lacks {part}"


def test_the_dashboard_chooses_models() -> None:
    names = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}

    assert names["model"]["multi"] is True
    assert "ray_slipway_predictions_total, model" in names["model"]["query"]["query"]
    assert DASHBOARD["uid"] == "slipway"


def test_panels_have_ids_of_their_own() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]

    assert len(ids) == len(set(ids))


def test_rays_dashboard_finds_the_panels_that_it_embeds() -> None:
    """With RAY_GRAFANA_SERVE_DASHBOARD_UID and _SERVE_DEPLOYMENT_DASHBOARD_UID set to slipway."""
    scripts = Path(ray.__file__).parent / "dashboard/client/build/static/js"
    embedded: set[tuple[str, int]] = set()
    for script in scripts.glob("main.*.js"):
        # Serve's panels name an id alone; those of other pages name a theme and more.
        found = re.findall(r'\{title:"([^"]+)",pathParams:"panelId=(\d+)"\}', script.read_text())
        embedded |= {(title, int(number)) for title, number in found}
    ours = {(panel["title"], panel["id"]) for panel in DASHBOARD["panels"]}

    assert len(embedded) >= 12
    assert embedded <= ours


def test_grafana_is_provisioned_with_what_is_mounted() -> None:
    provisioning = REPOSITORY / "cluster/grafana/provisioning"
    dashboards = yaml.safe_load((provisioning / "dashboards/slipway.yml").read_text())
    compose = yaml.safe_load((REPOSITORY / "cluster/compose/docker-compose.prod.yml").read_text())
    mounts = dict(volume.split(":")[:2] for volume in compose["services"]["grafana"]["volumes"])

    assert dashboards["providers"][0]["options"]["path"] == mounts["../grafana/dashboards"]


@needs_promtool
def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    for name in ("prometheus.yml", "alerts.yml"):
        shutil.copy(PROMETHEUS / name, tmp_path)
    token = tmp_path / "ray_token"
    token.write_text("token")
    path = tmp_path / "prometheus.yml"
    path.write_text(path.read_text().replace("/run/secrets/ray_token", str(token)))

    assert run_promtool("check", "config", str(path), directory=tmp_path) == ""


@needs_promtool
def test_every_query_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    filled = [
        query.replace("$__rate_interval", "1m").replace("$model", ".*") for query in queries()
    ]
    recorded = [{"record": f"panel:{i}", "expr": query} for i, query in enumerate(filled)]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": recorded}]}))

    assert run_promtool("check", "rules", str(path), directory=tmp_path) == ""

"""Each alert fires where it should and is silent where it should be, by promtool's own tests."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.cluster.monitoring import PROMETHEUS, needs_promtool, rules, run_promtool

#: Series that make each alert fire, and the minute by which it must.
FIRING: dict[str, tuple[dict[str, str], str]] = {
    "PredictionErrorsBurnFast": (
        {
            'ray_slipway_predictions_total{code="ok"}': "0+980x120",
            'ray_slipway_predictions_total{code="replica_unavailable"}': "0+20x120",
        },
        "70m",
    ),
    "PredictionErrorsBurnSlowly": (
        {
            'ray_slipway_predictions_total{code="ok"}': "0+992x500",
            'ray_slipway_predictions_total{code="internal"}': "0+8x500",
        },
        "380m",
    ),
    "PredictionsSlow": (
        {
            'ray_slipway_predictions_total{code="ok"}': "0+600x60",
            'ray_slipway_prediction_seconds_bucket{le="1"}': "0+500x60",
            'ray_slipway_prediction_seconds_bucket{le="2"}': "0+600x60",
            'ray_slipway_prediction_seconds_bucket{le="+Inf"}': "0+600x60",
        },
        "30m",
    ),
    "PlatformAbsent": ({'up{job="ray"}': "0x10"}, "5m"),
    "BackupTooOld": ({"ray_slipway_backup_age_seconds": "93000+60x60"}, "40m"),
    "BackupNeverMade": ({'up{job="ray"}': "1x1700"}, "1600m"),
    "ModelQuarantined": (
        # Ray has no series before the first event.
        {'ray_slipway_quarantines_total{reason="replay"}': "_x5 1x20"},
        "8m",
    ),
    "ReplicasFlap": (
        {'ray_serve_deployment_replica_starts_total{deployment="Predictor"}': "0+1x40"},
        "30m",
    ),
    "ReplicaUnhealthy": (
        {'ray_serve_deployment_replica_healthy{deployment="Loader",replica="a"}': "0x10"},
        "5m",
    ),
    "DecidedWithoutDependency": (
        {'ray_slipway_fail_open_total{what="limits"}': "0+3x30"},
        "15m",
    ),
    "UploadsRefusedInBulk": (
        {'ray_slipway_vettings_total{verdict="refused",reason="global"}': "0+3x30"},
        "20m",
    ),
    "DiskFillsUp": (
        {'ray_node_disk_free{ip="a"}': "10x30", 'ray_node_disk_usage{ip="a"}': "90x30"},
        "15m",
    ),
}
#: A platform that is well: nothing may fire.
QUIET = {
    'up{job="ray"}': "1x1700",
    'ray_slipway_predictions_total{code="ok"}': "0+600x1700",
    'ray_slipway_predictions_total{code="invalid_input"}': "0+60x1700",
    'ray_slipway_predictions_total{code="replica_unavailable"}': "0+0x1700",
    'ray_slipway_prediction_seconds_bucket{le="0.001"}': "0+600x1700",
    'ray_slipway_prediction_seconds_bucket{le="+Inf"}': "0+600x1700",
    "ray_slipway_backup_age_seconds": "0+40x1700",
    # One was held back long ago.
    'ray_slipway_quarantines_total{reason="replay"}': "1x1700",
    'ray_slipway_vettings_total{verdict="accepted",reason=""}': "0+9x1700",
    'ray_serve_deployment_replica_starts_total{deployment="Predictor"}': "2x1700",
    'ray_serve_deployment_replica_healthy{deployment="Predictor",replica="a"}': "1x1700",
    'ray_node_disk_free{ip="a"}': "50x1700",
    'ray_node_disk_usage{ip="a"}': "50x1700",
}


def test_there_is_a_case_for_every_alert() -> None:
    assert set(FIRING) == {rule["alert"] for rule in rules("alert")}


@pytest.fixture(scope="module")
def fired(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What promtool has against the claim that no alert fires: those that do."""
    cases = [_case(series, {alert: at}) for alert, (series, at) in FIRING.items()]
    return _unit_tests(tmp_path_factory.mktemp("rules"), cases)


@needs_promtool
@pytest.mark.parametrize("alert", FIRING)
def test_the_alert_fires(fired: str, alert: str) -> None:
    # Named once as what was asked for, and once more as what was got instead of nothing.
    assert re.search(rf"alertname:\s*{alert}\b", fired)
    assert re.search(rf'alertname="{alert}"', fired)


@needs_promtool
def test_no_alert_fires_while_all_is_well(tmp_path: Path) -> None:
    assert _unit_tests(tmp_path, [_case(QUIET, dict.fromkeys(FIRING, "1600m"))]) == ""


def _case(series: dict[str, str], alerts: dict[str, str]) -> dict[str, Any]:
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {"eval_time": at, "alertname": alert, "exp_alerts": []} for alert, at in alerts.items()
        ],
    }


def _unit_tests(directory: Path, cases: list[dict[str, Any]]) -> str:
    shutil.copy(PROMETHEUS / "alerts.yml", directory)
    path = directory / "test.yml"
    document = {"rule_files": ["alerts.yml"], "evaluation_interval": "1m", "tests": cases}
    path.write_text(yaml.safe_dump(document))
    return run_promtool("test", "rules", str(path), directory=directory)

"""Serve's door to the decision: what it reads, remembers and says."""

import json
import logging
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest
import ray
from ray import cloudpickle
from ray.serve._private.common import TimeStampedValue
from ray.serve.config import AutoscalingPolicy

from cluster import metrics
from cluster.autoscaling import policy


@dataclass
class Controller:
    """What the Serve controller shows the policy."""

    deployment_name: str = "Predictor"
    current_num_replicas: int = 2
    target_num_replicas: int = 2
    capacity_adjusted_min_replicas: int = 1
    capacity_adjusted_max_replicas: int = 4
    current_time: float | None = 1000.0
    policy_state: dict[str, Any] = field(default_factory=dict)
    aggregated_metrics: dict[str, dict[Any, float]] | None = None
    raw_metrics: dict[str, dict[Any, list[TimeStampedValue]]] | None = None


def reporting(**metrics: float) -> dict[str, dict[Any, float]]:
    return {name: {"r0": value, "r1": value} for name, value in metrics.items()}


def test_it_answers_replicas_and_a_reason() -> None:
    controller = Controller(aggregated_metrics=reporting(utilisation=0.9))

    replicas, state = policy(controller)

    assert replicas == 3
    assert state["reason"] == "1.80 of 2 replicas busy"


@pytest.mark.parametrize("metrics", [None, {}, {"utilisation": {}}])
def test_without_reports_the_target_stays(metrics: dict[str, dict[Any, float]] | None) -> None:
    replicas, state = policy(Controller(target_num_replicas=3, aggregated_metrics=metrics))

    assert (replicas, state["reason"]) == (3, "no replica has reported")


def test_its_memory_lives_in_serves_state_beside_serves_own() -> None:
    controller = Controller(aggregated_metrics=reporting(utilisation=0.9))
    _, state = policy(controller)
    controller.policy_state = {"Serve's own": 1} | state
    controller.current_time = 1010.0
    controller.target_num_replicas = controller.current_num_replicas = 3
    controller.aggregated_metrics = reporting(utilisation=0.0)

    replicas, state = policy(controller)

    assert replicas == 3
    assert "held at the 3" in state["reason"]


def test_a_replica_that_stands_still_is_compensated() -> None:
    """Serve goes on handing over what it said last."""
    said = {"r0": [TimeStampedValue(999.0, 0.1)], "r1": [TimeStampedValue(994.0, 0.1)]}
    controller = Controller(
        capacity_adjusted_min_replicas=2,
        aggregated_metrics=reporting(utilisation=0.1),
        raw_metrics={"utilisation": said},
    )

    replicas, state = policy(controller)

    assert (replicas, state["reason"]) == (3, "0.20 of 2 replicas busy; 1 sick")


def test_a_change_is_logged_with_its_cause_and_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    policy(Controller(aggregated_metrics=reporting(utilisation=0.1, queue_age_s=0.4)))

    assert caplog.messages == [
        "Predictor: replicas 2 -> 3 (queue): 0.20 of 2 replicas busy; calls wait 0.40 s"
    ]


def test_no_change_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    policy(Controller(aggregated_metrics=reporting(utilisation=0.5)))

    assert caplog.messages == []


def test_serve_can_still_start_replicas_after_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve pickles the policy in use, with all that it refers to, for each replica it starts."""
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    configured = AutoscalingPolicy(policy_function="cluster.autoscaling:policy")
    for metric in (metrics.SCALING_CHANGES, metrics.SCALING_TARGET):
        monkeypatch.setitem(vars(metric), "_instrument", metrics._RayInstrument(metric))
    configured.get_policy()(Controller(aggregated_metrics=reporting(utilisation=0.9)))

    again = cloudpickle.loads(cloudpickle.dumps(configured)).get_policy()

    assert again(Controller(aggregated_metrics=reporting(utilisation=0.9)))[0] == 3


def test_it_loads_nothing_heavy_into_the_controller() -> None:
    code = (
        "import json, sys; before = set(sys.modules); import cluster.autoscaling;"
        "print(json.dumps(sorted({name.split('.')[0] for name in set(sys.modules) - before})))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout

    names = set(json.loads(loaded)) - {"cluster"}
    assert names <= sys.stdlib_module_names | {"__mp_main__"}

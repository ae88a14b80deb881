"""The policy alone, fed with made-up reports; time passes when told."""

import ast
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cluster import autoscaling
from cluster.autoscaling import COOL_DOWN_S, TARGET_UTILISATION, policy


@dataclass
class Deployment:
    """What the Serve controller shows the policy, and does with its answer."""

    current_num_replicas: int = 2
    target_num_replicas: int = 2
    capacity_adjusted_min_replicas: int = 1
    capacity_adjusted_max_replicas: int = 10
    current_time: float | None = 1000.0
    policy_state: dict[str, Any] = field(default_factory=dict)
    aggregated_metrics: dict[str, dict[Any, float]] | None = None

    def report(self, total: float, **others: float) -> None:
        replicas = [f"r{n}" for n in range(self.current_num_replicas)]
        share = min(total / len(replicas), 1.0)
        self.aggregated_metrics = {"utilisation": dict.fromkeys(replicas, share)}
        for name, value in others.items():
            self.aggregated_metrics[name] = {**dict.fromkeys(replicas, 0.0), "r0": value}

    def step(self, seconds: float = 1.0) -> int:
        """One decision; new replicas are there at once."""
        assert self.current_time is not None
        self.current_time += seconds
        decided, self.policy_state = policy(self)
        self.target_num_replicas = self.current_num_replicas = decided
        return decided

    @property
    def reason(self) -> str:
        return str(self.policy_state["reason"])


@pytest.mark.parametrize("total", [0.0, 0.5, 1.2, 2.0])
def test_a_steady_load_gets_the_replicas_of_the_target(total: float) -> None:
    deployment = Deployment()
    for _ in range(int(COOL_DOWN_S) + 30):
        deployment.report(total)
        decided = deployment.step()

    assert decided == max(1, math.ceil(total / TARGET_UTILISATION))


def test_a_rising_load_is_met_before_it_is_there() -> None:
    deployment = Deployment(current_num_replicas=4, target_num_replicas=4)
    for second in range(6):
        deployment.report(1.0 + 0.2 * second)
        decided = deployment.step()

    assert decided > math.ceil(2.0 / TARGET_UTILISATION)
    assert "in 8 s" in deployment.reason


def test_saturated_replicas_double_within_seconds() -> None:
    deployment = Deployment(current_num_replicas=1, target_num_replicas=1)
    counts = []
    for _ in range(5):
        deployment.report(100.0, queue_age_s=2.0)
        counts.append(deployment.step())

    assert counts[-1] >= 6
    assert counts == sorted(counts)


def test_an_old_queue_adds_a_replica_whatever_the_utilisation() -> None:
    deployment = Deployment()
    deployment.report(0.2, queue_age_s=0.4)

    assert deployment.step() == 3
    assert "calls wait 0.40 s" in deployment.reason


def test_a_sick_replica_is_compensated() -> None:
    healthy, sick = Deployment(), Deployment()
    healthy.report(1.2)
    sick.report(1.2, degraded=1.0)

    assert sick.step() == healthy.step() + 1
    assert "1 sick" in sick.reason


def test_it_comes_down_only_after_the_cool_down() -> None:
    deployment = Deployment()
    deployment.report(3.0)
    peak = deployment.step()
    counts = []
    for _ in range(int(COOL_DOWN_S) + 2):
        deployment.report(0.1)
        counts.append(deployment.step())

    assert counts[: int(COOL_DOWN_S)] == [peak] * int(COOL_DOWN_S)
    assert counts[-1] == 1


def test_a_sawtooth_does_not_flap() -> None:
    deployment = Deployment()
    counts = []
    for second in range(400):
        deployment.report(0.5 + 1.5 * (second % 20) / 20)
        counts.append(deployment.step())
    settled = counts[100:]

    assert max(settled) - min(settled) <= 1


@pytest.mark.parametrize(("low", "high", "total"), [(3, 8, 0.0), (1, 4, 50.0)])
def test_the_bounds_hold(low: int, high: int, total: float) -> None:
    deployment = Deployment(
        current_num_replicas=4,
        target_num_replicas=4,
        capacity_adjusted_min_replicas=low,
        capacity_adjusted_max_replicas=high,
    )
    for _ in range(100):
        deployment.report(total, queue_age_s=float(total > 0))
        decided = deployment.step()

    assert decided == (low if total == 0 else high)


@pytest.mark.parametrize("metrics", [None, {}, {"utilisation": {}}])
def test_without_reports_the_target_stays(metrics: dict[str, dict[Any, float]] | None) -> None:
    deployment = Deployment(target_num_replicas=5, aggregated_metrics=metrics)

    assert policy(deployment) == (5, {"reason": "no replica has reported"})


def test_the_state_stays_small() -> None:
    deployment = Deployment()
    for second in range(500):
        deployment.report(5.0 - second / 100)
        deployment.step(0.5)

    assert len(deployment.policy_state["wanted"]) <= 2 * COOL_DOWN_S


def test_it_imports_the_standard_library_alone() -> None:
    tree = ast.parse(Path(str(autoscaling.__file__)).read_text(encoding="utf-8"))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or "."]
        )
    }

    assert imported <= sys.stdlib_module_names

"""The decision alone, one observation at a time; time passes when told."""

import ast
import math
import sys
from pathlib import Path

import pytest

from cluster import scaling
from cluster.scaling import (
    COOL_DOWN_S,
    TARGET_UTILISATION,
    Decision,
    Memory,
    Observation,
    Report,
    decide,
    reports_from,
)


class Deployment:
    """Does at once what is decided."""

    def __init__(self, *, running: int = 2, low: int = 1, high: int = 10) -> None:
        self.running = running
        self.low = low
        self.high = high
        self.now_s = 1000.0
        self.memory = Memory()

    def step(self, busy: float, *, sick: int = 0, queue_age_s: float = 0.0) -> Decision:
        """One second later, ``busy`` replicas' worth of work is done."""
        share = min(busy / self.running, 1.0)
        reports = [
            Report(busy=share, queue_age_s=queue_age_s, is_sick=n < sick)
            for n in range(self.running)
        ]
        return self.see(reports)

    def see(self, reports: list[Report]) -> Decision:
        """One second later, this is reported."""
        self.now_s += 1
        seen = Observation(
            now_s=self.now_s,
            reports=reports,
            running=self.running,
            target=self.running,
            low=self.low,
            high=self.high,
        )
        decision = decide(seen, self.memory)
        self.memory, self.running = decision.memory, decision.replicas
        return decision


@pytest.mark.parametrize("busy", [0.0, 0.5, 1.2, 2.0, 4.1])
def test_a_steady_load_gets_the_replicas_of_the_target(busy: float) -> None:
    deployment = Deployment(running=1)
    for _ in range(2 * int(COOL_DOWN_S)):
        decision = deployment.step(busy)
    ideal = max(1, math.ceil(busy / TARGET_UTILISATION))

    assert ideal <= decision.replicas <= ideal + 1


def test_a_rising_load_is_met_before_it_is_there() -> None:
    deployment = Deployment(running=4)
    decisions = [deployment.step(1.0 + 0.2 * second) for second in range(8)]
    first = next(d for d in decisions if d.replicas > 4)

    # At 2.4 busy replicas the target alone would ask for a fifth.
    assert decisions.index(first) < 7
    assert (first.cause, "in 6 s" in first.reason) == ("trend", True)


def test_one_spike_is_no_trend() -> None:
    deployment = Deployment(running=4)
    for _ in range(10):
        deployment.step(2.0)
    decision = deployment.step(2.4)

    assert decision.replicas == 4


def test_how_often_it_is_asked_makes_no_difference() -> None:
    calm, hasty = Deployment(running=4), Deployment(running=4)
    for second in range(12):
        calm_decision = calm.step(1.0 + 0.1 * second)
        for tenth in range(10):
            hasty.now_s = 1000.0 + second + tenth / 10 - 1
            hasty_decision = hasty.step(1.0 + 0.1 * second)

    assert hasty_decision.replicas == calm_decision.replicas


def test_an_old_queue_adds_a_replica_whatever_the_utilisation() -> None:
    decision = Deployment(running=2).step(0.2, queue_age_s=0.4)

    assert (decision.replicas, decision.cause) == (3, "queue")
    assert "calls wait 0.40 s" in decision.reason


def test_a_queue_does_not_add_more_while_what_it_asked_for_comes_up() -> None:
    deployment = Deployment(running=2)
    decisions = [deployment.step(0.2, queue_age_s=0.4) for _ in range(3)]

    assert [decision.replicas for decision in decisions] == [3, 3, 3]


def test_saturated_replicas_double_within_seconds() -> None:
    deployment = Deployment(running=1)
    counts = [deployment.step(100.0, queue_age_s=2.0).replicas for _ in range(6)]

    assert counts[-1] >= 6
    assert counts == sorted(counts)


def test_a_sick_replica_is_compensated() -> None:
    healthy, ill = Deployment(running=2), Deployment(running=2)
    decision = ill.step(1.2, sick=1)

    assert decision.replicas == healthy.step(1.2).replicas + 1
    assert (decision.cause, "1 sick" in decision.reason) == ("sick", True)


def test_it_comes_down_only_after_the_cool_down() -> None:
    deployment = Deployment(running=5)
    peak = deployment.step(3.0).replicas
    assert peak == 5
    decisions = [deployment.step(0.1) for _ in range(int(COOL_DOWN_S) + 2)]

    assert {decision.replicas for decision in decisions[: int(COOL_DOWN_S)]} == {peak}
    assert decisions[0].cause == "held"
    assert decisions[-1].replicas == 1


def test_a_load_at_the_edge_between_two_counts_does_not_flap() -> None:
    deployment = Deployment(running=2)
    edge = 2 * TARGET_UTILISATION
    counts = [deployment.step(edge * (1.02 if n % 90 < 5 else 0.98)).replicas for n in range(900)]

    assert set(counts[10:]) == {3}


@pytest.mark.parametrize(("low", "high", "busy", "cause"), [(3, 8, 0.0, "floor"), (1, 4, 50.0, "")])
def test_the_bounds_hold(low: int, high: int, busy: float, cause: str) -> None:
    deployment = Deployment(running=4, low=low, high=high)
    decisions = [deployment.step(busy, queue_age_s=float(busy > 0)) for _ in range(100)]

    assert decisions[-1].replicas == (high if busy else low)
    assert decisions[-1].cause == (cause or "ceiling")


def test_without_reports_the_target_stays() -> None:
    decision = Deployment(running=5).see([])

    assert (decision.replicas, decision.cause) == (5, "unknown")


def test_the_memory_stays_small() -> None:
    deployment = Deployment(running=9)
    for second in range(500):
        deployment.step(5.0 - second / 100)

    assert len(deployment.memory.wanted) <= 12
    assert len(deployment.memory.trend) <= 8


def test_a_replica_is_as_busy_as_its_lanes_or_its_core() -> None:
    metrics = {
        "utilisation": {"a": 0.3, "b": 0.3, "c": 0.1},
        "cpu_share": {"a": 0.9},
        "queue_age_s": {"b": 0.5},
        "error_share": {"b": 0.7},
        "degraded": {"c": 0.2},
    }

    assert reports_from(metrics) == [
        Report(busy=0.9),
        Report(busy=0.3, queue_age_s=0.5, is_sick=True),
        Report(busy=0.1, is_sick=True),
    ]


def test_silence_is_sick_beside_others_that_report() -> None:
    metrics = {"utilisation": {"a": 0.3, "b": 0.3}}

    def sick(**reported_s: float) -> list[bool]:
        return [report.is_sick for report in reports_from(metrics, reported_s)]

    assert sick(a=100.0, b=103.0) == [False, False]
    assert sick(a=100.0, b=104.5) == [True, False]
    # A new replica has not reported yet; the last one there is has nobody to be compared with.
    assert sick(a=100.0) == [False, False]


def test_a_sick_replica_is_compensated_at_the_floor() -> None:
    deployment = Deployment(running=2, low=2)

    decision = deployment.step(0.1, sick=1)

    assert (decision.replicas, decision.cause) == (3, "sick")


def test_it_imports_the_standard_library_alone() -> None:
    tree = ast.parse(Path(str(scaling.__file__)).read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or ".").split(".")[0])

    assert imported <= sys.stdlib_module_names

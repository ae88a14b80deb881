"""The matrix goes on where it was cut short, and takes a short run for no other than it was."""

from pathlib import Path

from tests.chaos.cases import CASES
from tests.chaos.matrix import Document, Trial


def trial(*, seed: int = 1, seconds: float = 60.0) -> Trial:
    return Trial(case=CASES["scale"], seed=seed, rate=200.0, seconds=seconds)


def test_a_run_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "matrix.json"
    Document(path).add(trial().identity | {"unproven": []})

    document = Document(path)

    assert document.has(trial())
    assert not document.has(trial(seed=2))
    assert not document.has(trial(seconds=15.0))
    assert [path] == list(tmp_path.iterdir())


def test_what_is_stopped_stays_so_as_the_goal_says() -> None:
    plan = Trial(case=CASES["stop-postgres"], seed=3, rate=200.0, seconds=60.0).plan()

    assert (plan.faults, plan.stopped_s, plan.first_fault_s) == (("stop-postgres",), 60.0, 10.0)

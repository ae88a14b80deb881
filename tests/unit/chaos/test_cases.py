"""A run proves its case only if nothing failed but what may, and writes were taken afterwards."""

import math
from collections import Counter
from dataclasses import replace

import pytest

from tests.chaos.cases import CASES
from tests.chaos.history import Harm, History, Prediction, value_of


def prediction(*, sent_s: float, done_s: float | None = None, status: int = 200) -> Prediction:
    return Prediction(
        due_s=sent_s,
        sent_s=sent_s,
        done_s=sent_s + 0.1 if done_s is None else done_s,
        x=2.0,
        status=status,
        version=1,
        value=value_of(1, 2.0) if status == 200 else math.nan,
    )


def history(*predictions: Prediction) -> History:
    return History(
        predictions=list(predictions),
        promoted={1: 0.0, 2: 30.0},
        uploaded={1},
        found={1},
        faults=[Harm(began_s=19.0, ended_s=20.0, what="SIGKILL")],
    )


def test_a_run_without_failures_proves_it() -> None:
    assert CASES["kill-predictor"].unproven(history(prediction(sent_s=19.0))) == []


@pytest.mark.parametrize(
    ("case", "sent_s", "done_s", "may_fail"),
    [
        ("kill-ingress-edge", 19.9, 20.1, False),
        ("kill-ingress", 19.9, 20.1, True),
        # Answered before the kill, and sent after it: neither was in flight.
        ("kill-ingress", 19.0, 19.5, False),
        ("kill-ingress", 21.0, 21.1, False),
        ("kill-haproxy", 21.0, 21.1, True),
        ("kill-haproxy", 26.5, 26.6, False),
        ("kill-haproxy-edge", 21.0, 21.1, False),
        ("kill-head", 79.9, 80.1, True),
        ("kill-head", 80.1, 80.2, False),
    ],
)
def test_what_may_fail_depends_on_the_case(
    case: str, sent_s: float, done_s: float, *, may_fail: bool
) -> None:
    run = history(prediction(sent_s=sent_s, done_s=done_s, status=502))

    assert CASES[case].unproven(run) == ([] if may_fail else ["1 predictions failed"])


def test_a_stop_strikes_when_it_begins() -> None:
    run = history(prediction(sent_s=19.9, done_s=41.0, status=0))
    run.faults = [Harm(began_s=19.0, ended_s=50.0, what="SIGSTOP")]
    run.promoted[2] = 60.0

    assert CASES["stop-ingress"].unproven(run) == []
    assert CASES["stop-ingress-edge"].unproven(run) == ["1 predictions failed"]


def test_a_violation_disproves_it() -> None:
    wrong = replace(prediction(sent_s=5.0), value=7.0)

    assert CASES["kill-haproxy"].unproven(history(wrong))[0].startswith("wrong")


def test_writes_must_be_taken_again() -> None:
    run = history()
    run.promoted = {1: 0.0, 2: 15.0}

    reasons = CASES["scale"].unproven(run)

    assert reasons == ["no promotion was acknowledged after the fault"]


def test_a_full_disk_must_have_been_noticed() -> None:
    run, noticed = history(), history()
    run.refusals = Counter({"503 database_unavailable": 3})
    noticed.refusals = Counter({"507 storage_full": 3})

    assert CASES["fill-disk"].unproven(run) == ["no write was refused with 507"]
    assert CASES["fill-disk"].unproven(noticed) == []

"""The checker finds what it is for, and finds nothing in a run that was right."""

import math

import pytest

from tests.chaos.history import REVOKED_BOUND_S, Harm, History, Prediction, value_of
from tests.chaos.timeline import drawing


def answered(version: int, *, sent_s: float = 5.0, key: int = -1, error: float = 0.0) -> Prediction:
    return Prediction(
        due_s=sent_s,
        sent_s=sent_s,
        done_s=sent_s + 0.1,
        x=2.0,
        status=200,
        version=version,
        value=value_of(version, 2.0) + error,
        key=key,
    )


def history(*predictions: Prediction) -> History:
    return History(
        predictions=list(predictions),
        promoted={1: 0.0, 2: 10.0},
        revoked={4: 20.0},
        uploaded={1, 2},
        found={1, 2},
    )


def test_a_run_that_was_right() -> None:
    run = history(
        answered(1), answered(2, sent_s=9.0), answered(1, sent_s=9.9), answered(2, sent_s=10.1)
    )

    assert run.violations() == []
    assert run.report()["failed"] == 0


@pytest.mark.parametrize(
    ("prediction", "word"),
    [
        (answered(1, error=0.5), "wrong"),
        # The value of one version under the number of another.
        (answered(1, error=value_of(2, 0) - value_of(1, 0)), "wrong"),
        (answered(1, error=math.nan), "wrong"),
        (answered(1, sent_s=10.1), "stale"),
        (answered(2, sent_s=20.1 + REVOKED_BOUND_S, key=4), "revoked"),
    ],
)
def test_what_must_never_happen(prediction: Prediction, word: str) -> None:
    (violation,) = history(prediction).violations()

    assert violation.startswith(word)


def test_a_key_may_serve_until_its_bound() -> None:
    assert history(answered(2, sent_s=19.9 + REVOKED_BOUND_S, key=4)).violations() == []


def test_an_acknowledged_upload_that_is_gone() -> None:
    run = history()
    run.found.remove(2)

    assert run.violations() == ["lost: version 2"]


def test_a_failure_is_counted_by_its_code_and_is_no_violation() -> None:
    failed = Prediction(due_s=1, sent_s=1, done_s=2, x=0, status=503, code="overloaded")
    refused = Prediction(due_s=1, sent_s=1, done_s=2, x=0, status=401, code="x", key=4)
    run = history(failed, refused, answered(1))

    assert run.violations() == []
    assert run.report()["failures"] == {"503 overloaded": 1}
    assert (run.report()["predictions"], run.report()["max_ms"]) == (2, 1000.0)


def test_a_starved_loader_shows() -> None:
    late = answered(1)
    late.due_s -= 3.0

    assert history(late).report()["sent_late_p99_ms"] == 3000.0
    assert history(late).report()["from_sending_max_ms"] == 100.0
    assert history(late).report()["max_ms"] == 3100.0


def test_the_timeline_names_the_faults() -> None:
    run = history(answered(1))
    run.faults.append(Harm(began_s=3.0, ended_s=4.0, what="SIGKILL Predictor 17"))

    assert ">SIGKILL Predictor<" in drawing(run)

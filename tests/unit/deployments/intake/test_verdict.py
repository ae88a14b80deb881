"""The verdict's JSON, there and back, and what a hostile child may put there."""

import json
from typing import Any

import pytest

from cluster.errors import Fault, InvalidInput, Overloaded, ReplicaUnavailable, UploadRefused
from deployments.intake.job_watch import Outcome
from deployments.intake.outcomes import replay_of, report_of
from deployments.intake.protocol import BrokenFrame
from deployments.intake.verdict import (
    MAX_SENTENCE,
    error_from_json,
    error_to_json,
    report_from_json,
    report_to_json,
)
from tests.unit.deployments.told_sandbox import REPORT


def _travelled(value: dict[str, Any]) -> dict[str, Any]:
    travelled: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
    return travelled


def test_a_report_comes_back_equal() -> None:
    assert report_from_json(_travelled(report_to_json(REPORT))) == REPORT


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("format", "exe"),
        ("signature", None),
        ("signature", {}),
        ("engines", {"fly": "native"}),
        ("engines", {"predict": 7}),
        ("cost_per_row_s", {"predict": -1}),
        ("cost_per_row_s", {"predict": "1e400"}),
        ("memory_bytes", -1),
        ("memory_bytes", True),
        ("warnings", [3]),
        ("canary", []),
        ("libraries", "all"),
    ],
)
def test_what_is_no_report_is_broken(member: str, value: object) -> None:
    with pytest.raises(BrokenFrame):
        report_from_json(_travelled(report_to_json(REPORT)) | {member: value})


def test_a_refusal_comes_back_with_its_context() -> None:
    fault = Fault(path="/examples/0", code="example_mismatch", message="row 0")
    refusal = UploadRefused(
        "no", gate="gate2", reason="global", name="os.system", code="example_mismatch",
        details=(fault,),
    )  # fmt: skip
    back = error_from_json(_travelled(error_to_json(refusal)))

    assert isinstance(back, UploadRefused)
    assert (back.message, back.context) == (refusal.message, refusal.context)
    assert back.details == refusal.details


def test_malformed_examples_stay_invalid_input() -> None:
    assert isinstance(error_from_json(error_to_json(InvalidInput("rows"))), InvalidInput)


def test_an_error_of_another_kind_becomes_a_refusal() -> None:
    assert isinstance(error_from_json(error_to_json(ReplicaUnavailable("x"))), UploadRefused)


def test_texts_are_cut_and_cleaned() -> None:
    hostile = error_to_json(UploadRefused("a\r\nb\u202e" + "x" * 10_000))
    back = error_from_json(hostile)

    assert len(back.message) == MAX_SENTENCE
    assert not set(back.message) & set("\r\n\u202e")


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"error": "SystemExit", "sentence": "x", "context": {}, "details": []},
        {"error": "UploadRefused", "sentence": 3, "context": {}, "details": []},
        {"error": "UploadRefused", "sentence": "x", "context": [], "details": []},
        {"error": "UploadRefused", "sentence": "x", "context": {}, "details": [{"path": 1}]},
        {"error": "UploadRefused", "sentence": "x", "context": {"code": "A B"}, "details": []},
        {"error": ["UploadRefused"], "sentence": "x", "context": {}, "details": []},
    ],
)
def test_what_is_no_refusal_is_broken(value: dict[str, Any]) -> None:
    with pytest.raises(BrokenFrame):
        error_from_json(value)


def _outcome(verdict: dict[str, Any] | None, code: int = 0) -> Outcome:
    content = None if verdict is None else json.dumps(verdict).encode()
    return Outcome(verdict=content, code=code, cpu_s=0.1, is_timed_out=False)


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        ({"failed": "memory"}, "memory"),
        ({"failed": "depth"}, "depth"),
        ({"failed": "error", "type": "KeyError", "text": "x"}, "error"),
        ({"report": {}}, "verdict"),
        ({"report": 3}, "error"),
        ({}, "error"),
    ],
)
def test_an_unknown_end_refuses_the_file(verdict: dict[str, Any], reason: str) -> None:
    with pytest.raises(UploadRefused) as caught:
        report_of(_outcome(verdict), wall_clock_s=20, memory_bytes=2**30)

    assert caught.value.context["reason"] == reason


def _ended_by_the_clock(starved_s: float) -> Outcome:
    return Outcome(verdict=None, code=-9, cpu_s=1.0, is_timed_out=True, starved_s=starved_s)


def test_a_child_that_never_got_a_core_says_nothing_about_its_file() -> None:
    with pytest.raises(Overloaded) as caught:
        report_of(_ended_by_the_clock(18.0), wall_clock_s=20, memory_bytes=2**30)

    assert caught.value.retry_after_s == 30


def test_a_child_that_had_a_core_and_took_too_long_refuses_its_file() -> None:
    with pytest.raises(UploadRefused, match="more than 20 s"):
        report_of(_ended_by_the_clock(3.0), wall_clock_s=20, memory_bytes=2**30)


@pytest.mark.parametrize(
    ("outcome", "is_crash", "reason"),
    [
        (_outcome({"replay": "answered"}), False, "answered"),
        (_outcome({"replay": "raised"}), False, "raised"),
        (_outcome({"failed": "error"}), False, "raised"),
        (_outcome({"failed": "memory"}), False, "memory"),
        (_outcome(None, code=-11), True, "crash"),
        (_outcome(None, code=-24), False, "cpu"),
        (_outcome(None, code=-9), False, "memory"),  # the kernel's killer charges nobody
    ],
)
def test_only_a_death_by_its_own_hand_is_a_crash(
    *, outcome: Outcome, is_crash: bool, reason: str
) -> None:
    replay = replay_of(outcome)

    assert (replay.is_crash, replay.reason) == (is_crash, reason)

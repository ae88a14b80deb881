"""What a run of Schemathesis did and found, counted from the events of its engine."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from schemathesis import Case, Response
from schemathesis.engine import events

SHOWN_FAILURES = 200
#: What uvicorn answers to bytes that are no HTTP; no request comes of them, and behind HAProxy
#: they do not even get so far.
NOT_HTTP = b"Invalid HTTP request received."
#: Of a slice's counts, those that are summed by name.
_TALLIES = ("statuses", "checks")


@dataclass
class Counts:
    """What ran in one slice and what came of it."""

    #: Cases that were sent and whose answers went through the checks.
    cases: int = 0
    #: What was sent in all: cases, and what checks sent on their own.
    requests: int = 0
    #: Cases that never reached the application; no check of theirs counts.
    not_http: int = 0
    #: Cases that asked for an answer within milliseconds, and were told 504, or 503 where the
    #: model was still being loaded then.
    own_deadlines: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    operations: set[str] = field(default_factory=set)
    failures: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def add(self, event: object) -> None:
        """Count one event of the engine."""
        if isinstance(event, events.NonFatalError):
            self.errors.append(f"{event.label}: {event.value}"[:500])
        if not isinstance(event, events.ScenarioFinished):
            return
        recorder = event.recorder
        self.requests += len(recorder.interactions)
        for interaction in recorder.interactions.values():
            answered = interaction.response
            self.statuses["none" if answered is None else str(answered.status_code)] += 1
        for case_id, checks in recorder.checks.items():
            case = recorder.cases[case_id].value
            answered = recorder.interactions[case_id].response
            if answered is not None and answered.content == NOT_HTTP:
                self.not_http += 1
                continue
            if answered is not None and _has_own_deadline(case, answered):
                self.own_deadlines += 1
                continue
            self.cases += 1
            self.operations.add(case.operation.label)
            for check in checks:
                self.checks[check.name] += 1
                if check.failure_info is not None:
                    self._fail(case, check.name, check.failure_info)

    def _fail(self, case: Case, check: str, info: Any) -> None:
        failure = info.failure
        key = f"{check} {case.operation.label} {failure.title}"
        if key in self.failures or len(self.failures) >= SHOWN_FAILURES:
            return
        self.failures[key] = {
            "message": failure.message[:1500],
            "curl": str(info.code_sample)[:1500],
        }

    def to_json(self) -> dict[str, Any]:
        """The counts as they are stored."""
        return {
            "cases": self.cases,
            "requests": self.requests,
            "not_http": self.not_http,
            "own_deadlines": self.own_deadlines,
            "statuses": dict(sorted(self.statuses.items())),
            "checks": dict(sorted(self.checks.items())),
            "operations": sorted(self.operations),
            "failures": self.failures,
            "errors": self.errors,
        }


def _has_own_deadline(case: Case, answered: Response) -> bool:
    if "X-Timeout-Ms" not in (case.headers or {}):
        return False
    is_loading = b'"code":"model_loading"' in (answered.content or b"")
    return answered.status_code == HTTPStatus.GATEWAY_TIMEOUT or is_loading


def is_clean(counts: Mapping[str, Any]) -> bool:
    """Whether stored counts have neither a failed check nor an error."""
    return not counts["failures"] and not counts["errors"]


def total(slices: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The sums of stored slices, which name their role."""
    slices = list(slices)
    by_role: Counter[str] = Counter()
    for each in slices:
        by_role[each["role"]] += each["cases"]
    sums: dict[str, Any] = {
        name: sum(each.get(name, 0) for each in slices)
        for name in ("cases", "requests", "not_http", "own_deadlines")
    }
    for name in _TALLIES:
        tally: Counter[str] = Counter()
        for each in slices:
            tally.update(each[name])
        sums[name] = dict(sorted(tally.items()))
    return sums | {
        "cases_by_role": dict(by_role),
        "operations": len({label for each in slices for label in each["operations"]}),
        "failures": {
            f"{each['role']} {key}": failure
            for each in slices
            for key, failure in each["failures"].items()
        },
        "errors": [f"{each['role']} {error}" for each in slices for error in each["errors"]],
    }

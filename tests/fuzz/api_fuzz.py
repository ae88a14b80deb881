"""
Schemathesis over the whole HTTP API: ``python -m tests.fuzz.api_fuzz --examples 1200 --seed 1``.

Every check that Schemathesis has, as three roles in turn, against a server of its own (see
``api_server``).  The last line printed is one JSON object of counts, also written to ``--report``;
the exit code is 1 if a check failed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import schemathesis
from schemathesis import AuthContext, Case
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from tests.fuzz.api_server import ROLES

#: What the checks take for an answer to a request that its schema allows.
ACCEPTED = ["2xx", "3xx", "401", "403", "404", "409", "429"]
#: What they take for a refusal; the standard list has no word for a body that is too large.
REFUSED = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "429", "431"]
#: Requests whose truth no schema can tell, and the statuses that are right for them too.
SEMANTIC: dict[str, tuple[str, ...]] = {
    # What a model takes is said by its own signature.
    "/api/v1/models/{model}/predict": ("422",),
    "/api/v1/predict": ("422",),
    "/v2/models/{model}/infer": ("400", "413"),
    "/v2/models/{model}/versions/{version}/infer": ("400", "413"),
    # The file must be a model.
    "/api/v1/models": ("400", "422"),
    "/api/v1/models/{model}/versions": ("400", "422"),
    # An address has printable characters alone, which JSON Schema cannot say.
    "/api/v1/auth/register": ("422",),
    # Features, users and models that are named must exist; times must lie ahead.
    "/api/v1/models/{model}": ("422",),
    "/api/v1/models/{model}/owner": ("422",),
    "/api/v1/api-keys": ("422",),
}
SHOWN_FAILURES = 200
#: What uvicorn answers to bytes that are no HTTP; no request comes of them, and behind HAProxy
#: they do not even get so far.
NOT_HTTP = b"Invalid HTTP request received."
PHASES = ("examples", "coverage", "fuzzing", "stateful")


@dataclass
class Server:
    """The application in a process of its own."""

    home: str
    _process: "subprocess.Popen[str] | None" = None
    url: str = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.api_server", self.home],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.url = json.loads(self._line())["url"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.communicate(timeout=60)

    def token(self, role: str) -> str:
        """A fresh access token of the role's user."""
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("the server is not started")
        self._process.stdin.write(f"{role}\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> str:
        if self._process is None or self._process.stdout is None:
            raise RuntimeError("the server is not started")
        return self._process.stdout.readline().strip()


@dataclass
class Counts:
    """What ran and what came of it."""

    cases: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    #: Requests that never reached the application; no check of theirs counts.
    not_http: int = 0
    operations: set[str] = field(default_factory=set)
    failures: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def add(self, role: str, event: object) -> None:
        """Count one event of the engine."""
        if isinstance(event, events.NonFatalError):
            self.errors.append(f"{role} {event.label}: {event.value}"[:500])
        if not isinstance(event, events.ScenarioFinished):
            return
        recorder = event.recorder
        self.cases[role] += len(recorder.interactions)
        for interaction in recorder.interactions.values():
            answered = interaction.response
            status = "none" if answered is None else str(answered.status_code)
            self.statuses[status] += 1
        for case_id, checks in recorder.checks.items():
            case = recorder.cases[case_id].value
            answered = recorder.interactions[case_id].response
            if answered is not None and answered.content == NOT_HTTP:
                self.not_http += 1
                continue
            self.operations.add(case.operation.label)
            for check in checks:
                self.checks[check.name] += 1
                if check.failure_info is not None:
                    self._fail(role, case, check.name, check.failure_info)

    def _fail(self, role: str, case: Case, check: str, info: Any) -> None:
        failure = info.failure
        key = f"{check} {case.operation.label} {failure.title}"
        if key in self.failures or len(self.failures) >= SHOWN_FAILURES:
            return
        self.failures[key] = {
            "role": role,
            "message": failure.message[:1500],
            "curl": str(info.code_sample)[:1500],
        }

    def to_json(self) -> dict[str, Any]:
        """The report."""
        return {
            "cases": sum(self.cases.values()),
            "cases_by_role": dict(self.cases),
            "not_http": self.not_http,
            "operations": len(self.operations),
            "statuses": dict(sorted(self.statuses.items())),
            "checks": dict(sorted(self.checks.items())),
            "failures": self.failures,
            "errors": self.errors,
        }


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much to try."""

    seed: int
    #: Of each operation, in the phase that makes them up.
    examples: int
    #: Of Schemathesis: examples, coverage, fuzzing, stateful.
    phases: tuple[str, ...] = PHASES
    #: Seconds a role; none for as long as it takes.
    max_time_s: int | None = None


def fuzz(server: Server, role: str, plan: Plan, counts: Counts) -> None:
    """Run every phase as one role."""
    schemathesis.auths.unregister()

    @schemathesis.auth(refresh_interval=5)
    class Bearer:
        """Signs in as the role's user."""

        def get(self, _case: Case, _context: AuthContext) -> str:
            return server.token(role)

        def set(self, case: Case, data: str, _context: AuthContext) -> None:
            case.headers["Authorization"] = f"Bearer {data}"

    config = _config(plan)
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json", config=config)
    for event in from_schema(schema).execute():
        counts.add(role, event)


def _config(plan: Plan) -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            "seed": plan.seed,
            **({} if plan.max_time_s is None else {"max-time": plan.max_time_s}),
            "workers": 1,
            "continue-on-failure": True,
            "request-timeout": 30,
            "phases": {phase: {"enabled": phase in plan.phases} for phase in PHASES},
            "generation": {"max-examples": plan.examples, "no-shrink": True, "database": "none"},
            "checks": {
                "positive_data_acceptance": {"expected-statuses": ACCEPTED},
                "negative_data_rejection": {"expected-statuses": REFUSED},
            },
            "operations": [
                {
                    "include-path": path,
                    "checks": {
                        "positive_data_acceptance": {"expected-statuses": [*ACCEPTED, *more]}
                    },
                }
                for path, more in SEMANTIC.items()
            ],
        }
    )


def main() -> int:
    """Exit code: 1 if a check failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=1200, help="of each operation, a role")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--roles", default=",".join(ROLES))
    parser.add_argument("--report", type=Path)
    parser.add_argument("--max-time", type=int, help="seconds a role")
    parser.add_argument("--phases", default=",".join(PHASES))
    options = parser.parse_args()
    plan = Plan(
        seed=options.seed,
        examples=options.examples,
        phases=tuple(options.phases.split(",")),
        max_time_s=options.max_time,
    )
    counts, started_s = Counts(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as home, Server(home) as server:
        for role in options.roles.split(","):
            fuzz(server, role, plan, counts)
            # After each role: an hour's findings outlive whatever ends the next one.
            found = counts.to_json() | {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "plan": asdict(plan),
                "schemathesis": version("schemathesis"),
                "elapsed_s": round(time.monotonic() - started_s),
            }
            if options.report:
                options.report.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(json.dumps(found), flush=True)
    return 1 if counts.failures or counts.errors else 0


if __name__ == "__main__":
    sys.exit(main())

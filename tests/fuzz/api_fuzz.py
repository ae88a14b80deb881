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
from dataclasses import dataclass, field
from datetime import UTC, datetime
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
    # Features, users and models that are named must exist; times must lie ahead.
    "/api/v1/models/{model}": ("422",),
    "/api/v1/models/{model}/owner": ("422",),
    "/api/v1/api-keys": ("422",),
}
SHOWN_FAILURES = 200


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
            "operations": len(self.operations),
            "statuses": dict(sorted(self.statuses.items())),
            "checks": dict(sorted(self.checks.items())),
            "failures": self.failures,
            "errors": self.errors,
        }


def fuzz(server: Server, role: str, *, seed: int, examples: int, counts: Counts) -> None:
    """Run every phase as one role."""
    schemathesis.auths.unregister()

    @schemathesis.auth(refresh_interval=5)
    class Bearer:
        """Signs in as the role's user."""

        def get(self, _case: Case, _context: AuthContext) -> str:
            return server.token(role)

        def set(self, case: Case, data: str, _context: AuthContext) -> None:
            case.headers["Authorization"] = f"Bearer {data}"

    schema = schemathesis.openapi.from_url(
        f"{server.url}/openapi.json", config=_config(seed, examples)
    )
    for event in from_schema(schema).execute():
        counts.add(role, event)


def _config(seed: int, examples: int) -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "workers": 1,
            "continue-on-failure": True,
            "request-timeout": 30,
            "generation": {"max-examples": examples, "no-shrink": True, "database": "none"},
            "checks": {"positive_data_acceptance": {"expected-statuses": ACCEPTED}},
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
    options = parser.parse_args()
    counts, started_s = Counts(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as home, Server(home) as server:
        for role in options.roles.split(","):
            fuzz(server, role, seed=options.seed, examples=options.examples, counts=counts)
    found = counts.to_json() | {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": options.seed,
        "examples": options.examples,
        "schemathesis": schemathesis.__version__,
        "elapsed_s": round(time.monotonic() - started_s),
    }
    if options.report:
        options.report.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found))
    return 1 if counts.failures or counts.errors else 0


if __name__ == "__main__":
    sys.exit(main())

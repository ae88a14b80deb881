"""
Schemathesis over the whole HTTP API: ``python -m tests.fuzz.api_fuzz --cases 50000``.

Every check that Schemathesis has, as three roles in turn, against a server of its own (see
``api_server``), in rounds of a slice a role until there are enough cases.  With ``--output`` each
slice is written down when it ends, and a run that was cut short goes on where it was: clean slices
are kept, others run again.  The last line printed is one JSON object of counts; the exit code is
1 if a check failed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

import schemathesis
from schemathesis import AuthContext, Case
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import from_schema

from tests.fuzz.api_counts import Counts
from tests.fuzz.api_report import Report, Slice
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
PHASES = ("examples", "coverage", "fuzzing", "stateful")


@dataclass
class Server:
    """The application in a process of its own, started when it is first asked for."""

    home: str
    _process: "subprocess.Popen[str] | None" = None
    _url: str = ""

    @property
    def url(self) -> str:
        """Where it listens."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.api_server", self.home],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self._url = json.loads(self._line())["url"]
        return self._url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.communicate(timeout=120)

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


def rounds(
    roles: tuple[str, ...], phases: set[str], *, seed: int, examples: int
) -> Iterator[list[Slice]]:
    """Lists of one slice a role: first what is the same for every seed, then seed after seed."""

    def made(chosen: tuple[str, ...], seed: int) -> list[Slice]:
        return [Slice(role=role, phases=chosen, seed=seed, examples=examples) for role in roles]

    if fixed := tuple(phase for phase in ("examples", "coverage") if phase in phases):
        yield made(fixed, seed)
    if "stateful" in phases:
        yield made(("stateful",), seed)
    for number in count(seed) if "fuzzing" in phases else ():
        yield made(("fuzzing",), number)


def fuzz(server: Server, piece: Slice) -> Counts:
    """Run a slice."""
    schemathesis.auths.unregister()

    @schemathesis.auth(refresh_interval=5)
    class Bearer:
        """Signs in as the role's user."""

        def get(self, _case: Case, _context: AuthContext) -> str:
            return server.token(piece.role)

        def set(self, case: Case, data: str, _context: AuthContext) -> None:
            case.headers["Authorization"] = f"Bearer {data}"

    counts = Counts()
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json", config=_config(piece))
    for event in from_schema(schema).execute():
        counts.add(event)
    return counts


def _config(piece: Slice) -> SchemathesisConfig:
    return SchemathesisConfig.from_dict(
        {
            "seed": piece.seed,
            "workers": 1,
            "continue-on-failure": True,
            "request-timeout": 30,
            "phases": {phase: {"enabled": phase in piece.phases} for phase in PHASES},
            "generation": {"max-examples": piece.examples, "no-shrink": True, "database": "none"},
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


def run_round(pieces: list[Slice], report: Report) -> None:
    """Run what the report does not have yet, on a server that nothing has been done to."""
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="fuzz-"))
        server = stack.enter_context(Server(home))
        for piece in pieces:
            if not report.has(piece):
                began_s = time.monotonic()
                counts = fuzz(server, piece)
                report.add(piece, counts, elapsed_s=time.monotonic() - began_s)
                print(f"{piece}: {report.cases} cases so far", file=sys.stderr, flush=True)


def main() -> int:
    """Exit code: 1 if a check failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=1, help="at least; the last round is ended")
    parser.add_argument("--examples", type=int, default=60, help="of each operation, a slice")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--roles", default=",".join(ROLES))
    parser.add_argument("--phases", default=",".join(PHASES))
    parser.add_argument("--output", type=Path, help="directory that takes api-<date>.json")
    options = parser.parse_args()
    report = Report.in_directory(options.output)
    phases = set(options.phases.split(","))
    roles = tuple(options.roles.split(","))
    for pieces in rounds(roles, phases, seed=options.seed, examples=options.examples):
        run_round(pieces, report)
        is_enough = report.cases >= options.cases and not report.pending
        if pieces[0].phases == ("fuzzing",) and is_enough:
            break
    found = report.write(has_ended=True)
    print(json.dumps(found), flush=True)
    return 1 if found["failures"] or found["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())

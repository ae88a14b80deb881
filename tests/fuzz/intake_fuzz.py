"""
Mutation fuzzer of the intake: ``python -m tests.fuzz.intake_fuzz --cases 200000 --seed 1``.

Changed files are read in forked children, a chunk each, so that a crash kills a child and is
seen.  The one answer that is right is an estimator or an UploadRefused; an escape is an event
that reading bytes never causes, another exception, a dead child or a chunk beyond its time.  The
last line printed is one JSON object of counts; the exit code is 1 if anything escaped.
"""

import argparse
import json
import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cluster.contracts import ArtifactFormat
from cluster.errors import UploadRefused
from deployments.intake.formats import detect
from deployments.intake.libraries import library_versions
from deployments.intake.limits import MIB, Limits
from deployments.intake.preload import preload
from deployments.intake.reader import read_model
from tests.fuzz.mutations import mutated, seeds

CHUNK = 200
#: Processor time, since a busy machine only stretches the wall clock.
CHUNK_CPU_S = 60
CHILD_MEMORY_BYTES = 4096 * MIB
LIMITS = Limits(max_opcodes=200_000, max_inflated_bytes=16 * MIB, max_array_bytes=16 * MIB)
FORBIDDEN_EVENT = 99
PROGRESS_EVERY_S = 60.0


def try_case(number: int, seed: int) -> tuple[str, str]:
    """Case ``number``: its format, and "accepted", "refused:<reason>" or "escape:<error>"."""
    made_as, content = mutated(number, seed)
    try:
        format_: ArtifactFormat = detect(content)
        read_model(content, format_, limits=LIMITS)
    except UploadRefused as refused:
        return made_as, f"refused:{refused.context.get('reason')}"
    except BaseException as error:  # noqa: BLE001 - anything else is what the fuzzer looks for
        return made_as, f"escape:{type(error).__name__}"
    return made_as, "accepted"


def _child(first: int, last: int, seed: int, pipe: int) -> None:
    os.chdir(tempfile.gettempdir())
    resource.setrlimit(resource.RLIMIT_AS, (CHILD_MEMORY_BYTES, CHILD_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CHUNK_CPU_S, CHUNK_CPU_S))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    counts: Counter[str] = Counter()
    position = first

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if _is_forbidden(event, args):
            text = f"{event} {args!r} in case #{position}"
            os.write(pipe, json.dumps({f"escape:{text[:500]}": 1}).encode())
            os._exit(FORBIDDEN_EVENT)

    sys.addaudithook(watch)
    warnings.simplefilter("ignore")
    for position in range(first, last):
        made_as, ending = try_case(position, seed)
        counts[f"{ending}:{made_as} #{position}" if ending.startswith("escape") else ending] += 1
        counts[f"format:{made_as}"] += 1
    os.write(pipe, json.dumps(counts).encode())


#: What a reader of bytes never does; the audit hook of CPython sees it whoever asks for it.
_FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.", "socket.", "exec")


def _is_forbidden(event: str, args: tuple[Any, ...]) -> bool:
    if event == "exec" and getattr(args[0], "co_filename", "").startswith(("/", "<frozen")):
        return False  # a module being imported from the installation
    return event.startswith(_FORBIDDEN)


def chunks(cases: int, seed: int) -> Iterator[Counter[str]]:
    """Counts of one forked child after the other."""
    for first in range(0, cases, CHUNK):
        last = min(first + CHUNK, cases)
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(reader)
                _child(first, last, seed, writer)
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            said = stream.read()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        yield _counts(said, code, f"#{first}-{last}")


def _counts(said: bytes, code: int, cases: str) -> Counter[str]:
    if said and code in {0, FORBIDDEN_EVENT}:
        return Counter(json.loads(said))
    ending = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return Counter({f"escape:child died by {ending} in {cases}": 1})


def run(cases: int, seed: int) -> dict[str, Any]:
    """All counts of a run, and the seconds it took; progress goes to stderr."""
    # As the zygote does before it forks: a late import runs code that libraries generate.
    preload(frozenset())
    for _, content in seeds():
        read_model(content, detect(content), limits=LIMITS)
    start = told = time.monotonic()
    total: Counter[str] = Counter()
    for counts in chunks(cases, seed):
        total += counts
        if time.monotonic() - told > PROGRESS_EVERY_S:
            told = time.monotonic()
            found = sum(key.startswith("escape") for key in total)
            line = f"{_ran(total)} cases, {found} escapes, {told - start:.0f} s"
            print(line, file=sys.stderr, flush=True)
    escapes = [key for key in total if key.startswith("escape")]
    plain = {key: count for key, count in sorted(total.items()) if key not in escapes}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "seed": seed,
        "cases": _ran(total),
        "seconds": round(time.monotonic() - start, 1),
        "escapes": escapes,
        **plain,
        "libraries": library_versions(frozenset()),
    }


def _ran(total: Counter[str]) -> int:
    """Cases that came to an end; those of a child that died are not among them."""
    return sum(count for key, count in total.items() if key.startswith("format:"))


def main(argv: list[str] | None = None) -> int:
    """Run, print one JSON object, say by the exit code whether anything escaped."""
    parser = argparse.ArgumentParser(description="mutation fuzzer of the intake")
    parser.add_argument("--cases", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="directory that takes intake-<date>.json")
    options = parser.parse_args(argv)
    counts = run(options.cases, options.seed)
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        path = options.output / f"intake-{counts['date']}.json"
        path.write_text(json.dumps(counts, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(counts))
    return 1 if counts["escapes"] else 0


if __name__ == "__main__":
    sys.exit(main())

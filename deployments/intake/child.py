"""
The life of one vetting child: close what is open, lock down, work, write one verdict, exit.

Descriptors: 0 the job, read-only; 1 and 2 a pipe for whatever is printed; 3 the verdict.
"""

import fcntl
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from cluster.contracts import JsonObject, SandboxState
from cluster.errors import PlatformError
from deployments.intake.lockdown import ChildLimits, lock_down
from deployments.intake.protocol import (
    frame_head,
    json_frame,
    parse_object,
    read_frame,
    write_all,
)
from deployments.intake.verdict import error_to_json

JOB, VERDICT = 0, 3
_OUT_OF_THE_WAY = 64
#: Frames of a job come from the Loader, which bounds them; this is a net beneath.
MAX_HEADER_BYTES = 16 * 1024 * 1024
MAX_BLOB_BYTES = 4 * 1024**3


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What a child reads from its input."""

    header: JsonObject
    blobs: tuple[bytes, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a child writes to its output."""

    value: JsonObject
    #: Bytes that would be slow as JSON; none if empty.
    blob: bytes = b""


Work = Callable[[Job, SandboxState], Answer]


def run(
    work: Work, *, parent: int, job: int, verdict: int, printed: int, limits: ChildLimits
) -> NoReturn:
    """
    Never returns: ends the process after the verdict, or without one if ``work`` kills it.

    Args:
        work: What to do with the job.
        parent: Process id of the zygote.
        job: Descriptor of the input.
        verdict: Descriptor of the output.
        printed: Descriptor for whatever is printed.
        limits: Of this child.
    """
    code = 1
    try:
        _keep_descriptors(job=job, verdict=verdict, printed=printed)
        # Vetting has what predictions on the same cores leave over, and gives it back at once
        # when one of them wakes up; niceness alone let a child finish its slice (measured).
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        state = lock_down(limits)
        # A child orphaned before it asked to die with its parent would outlive it.
        if os.getppid() == parent:
            _write(_outcome(work, state))
            code = 0
    finally:
        # No interpreter shutdown: finalisers of uploaded objects would run without a reason.
        os._exit(code)


def _outcome(work: Work, state: SandboxState) -> Answer:
    try:
        return work(_read_job(), state)
    except PlatformError as error:
        return Answer(value=error_to_json(error))
    except MemoryError:
        return Answer(value={"failed": "memory"})
    except RecursionError:
        return Answer(value={"failed": "depth"})
    except Exception as error:  # noqa: BLE001  an unknown error refuses the file (ASVS 16.5.3)
        failed = {"failed": "error", "type": type(error).__name__, "text": str(error)[:500]}
        return Answer(value=failed)


def _write(answer: Answer) -> None:
    write_all(VERDICT, json_frame(answer.value))
    if answer.blob:
        write_all(VERDICT, frame_head(len(answer.blob)))
        write_all(VERDICT, answer.blob)


def _read_job() -> Job:
    header = read_frame(JOB, max_bytes=MAX_HEADER_BYTES)
    blobs = []
    while (blob := read_frame(JOB, max_bytes=MAX_BLOB_BYTES)) is not None:
        blobs.append(blob)
    return Job(header=parse_object(header or b""), blobs=tuple(blobs))


def _keep_descriptors(*, job: int, verdict: int, printed: int) -> None:
    # First out of the way of each other's target, then into place.
    sources = (job, printed, printed, verdict)
    moved = [fcntl.fcntl(source, fcntl.F_DUPFD, _OUT_OF_THE_WAY) for source in sources]
    for target, descriptor in enumerate(moved):
        os.dup2(descriptor, target)
    os.closerange(VERDICT + 1, os.sysconf("SC_OPEN_MAX"))

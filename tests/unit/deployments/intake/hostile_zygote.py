"""
A zygote whose children try what an uploaded file must never manage; run by test_sandbox.

The file's bytes name the deed.  A deed that is denied refuses the file as "denied: <error>"; one
that succeeds says "done", so a hole in the sandbox cannot look like a pass.
"""

import ctypes
import json
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import sklearn.base

from cluster.contracts import JsonObject, SandboxState
from cluster.errors import UploadRefused
from deployments.intake import zygote
from deployments.intake.child import VERDICT, Answer, Job, Work
from deployments.intake.verdict import error_to_json

MARKER = Path(tempfile.gettempdir()) / f"slipway-escaped-{os.getuid()}"
VICTIM = Path(tempfile.gettempdir()) / f"slipway-victim-{os.getuid()}"


def _endless() -> None:
    while True:
        pass


def _sleeping() -> None:
    time.sleep(3600)


def _start_thread() -> None:
    threading.Thread(target=_sleeping, daemon=True).start()


def _poison() -> None:
    sklearn.base.BaseEstimator.poisoned = True


def _is_poisoned() -> None:
    if not hasattr(sklearn.base.BaseEstimator, "poisoned"):
        raise LookupError("whole")


def _flood() -> None:
    while True:
        os.write(VERDICT, bytes(1 << 16))


def _report_environment() -> None:
    raise LookupError(" ".join(sorted(os.environ)))


def _report_descriptors() -> None:
    # /proc is closed to the child, so it asks for each number.
    opened = []
    for descriptor in range(1024):
        try:
            os.fstat(descriptor)
        except OSError:
            continue
        opened.append(str(descriptor))
    raise LookupError(" ".join(opened))


def _kill_zygote_group() -> None:
    os.killpg(os.getppid(), signal.SIGKILL)


def _vanish() -> None:
    os._exit(0)


def _garbage() -> None:
    os.write(VERDICT, b"\xff" * 64)
    os._exit(0)


def _pickle_verdict() -> None:
    # What pickle.loads would turn into a call of os.system.
    content = b"cos\nsystem\n(S'touch %s'\ntR." % bytes(MARKER)
    os.write(VERDICT, len(content).to_bytes(8, "little") + content)
    os._exit(0)


def _raise_limit() -> None:
    resource.prlimit(0, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _print_much() -> None:
    for _ in range(5000):
        os.write(1, b"x" * 1024)
    raise LookupError("printed")


DEEDS: dict[str, Callable[[], object]] = {
    "open": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "list": lambda: next(Path("/").iterdir()),
    "create": MARKER.touch,
    "unlink": VICTIM.unlink,
    "chmod": lambda: VICTIM.chmod(0o777),
    "socket": lambda: socket.socket(socket.AF_INET),
    "unix": socket.socketpair,
    "fork": os.fork,
    "thread": _start_thread,
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "kill": lambda: os.kill(os.getppid(), signal.SIGKILL),
    "killpg": _kill_zygote_group,
    "memfd": lambda: os.memfd_create("x"),
    "limit": _raise_limit,
    "memory": lambda: bytearray(4 << 30),
    "endless": _endless,
    "sleep": _sleeping,
    "segfault": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "poison": _poison,
    "poisoned": _is_poisoned,
    "flood": _flood,
    "environment": _report_environment,
    "descriptors": _report_descriptors,
    "vanish": _vanish,
    "garbage": _garbage,
    "pickle": _pickle_verdict,
    "print": _print_much,
    "nothing": lambda: None,
}


def _refused(sentence: str) -> Answer:
    return Answer(value=error_to_json(UploadRefused(sentence)))


def prepare(config: JsonObject) -> Work:
    json.dumps(config)

    def work(job: Job, state: SandboxState) -> Answer:
        if not state.is_whole:
            return _refused("the sandbox is not whole")
        try:
            DEEDS[job.blobs[0].decode()]()
        except (OSError, LookupError, RuntimeError, ValueError) as error:
            return _refused(f"denied: {error}")
        return _refused("done")

    return work


if __name__ == "__main__":
    zygote.serve(prepare)
    sys.exit(0)

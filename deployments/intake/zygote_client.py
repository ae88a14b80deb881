"""
The parent's side of one zygote: start it without secrets, hand it jobs, watch the clock, end it.

Blocking and thread-safe: the Sandbox calls ``run`` from worker threads, one a job.
"""

import contextlib
import fcntl
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from cluster.contracts import JsonObject, SandboxState
from cluster.errors import ReplicaUnavailable
from deployments.intake.job_watch import READ_BYTES, Outcome, Watch, lost
from deployments.intake.probe import NO_SANDBOX
from deployments.intake.protocol import (
    MAX_NOTICE_BYTES,
    BrokenFrame,
    frame_head,
    json_frame,
    parse_object,
)

#: Importing scikit-learn, pandas and skops on a busy two-core machine takes a while.
START_TIMEOUT_S = 60.0
#: The end of a killed child is reported at once unless its zygote is gone too.
REAP_TIMEOUT_S = 5.0
_ROOT = Path(__file__).resolve().parents[2]
#: The only variables of ours that a zygote sees; none of them can hold a secret.
_PASSED_ON = ("LD_LIBRARY_PATH", "VIRTUAL_ENV", "TZ")


def zygote_environment() -> dict[str, str]:
    """The zygote's whole environment, made from nothing."""
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return environment | {
        # With more threads OpenBLAS exits a child that may not create any (measured).
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        # A new child touches all its memory for the first time: large pages are a third of the
        # faults (measured). Another libc does not know the variable.
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        # ONNX Runtime would report its use to its makers.
        "ORT_DISABLE_TELEMETRY": "1",
        "LANG": "C.UTF-8",
        "PATH": "/usr/bin:/bin",
        "HOME": "/nonexistent",
        "PYTHONPATH": str(_ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


class ZygoteClient:
    """One zygote process; once it is gone this object is of no further use."""

    def __init__(self, config: JsonObject, command: Sequence[str]) -> None:
        self._config = config
        self._numbers = itertools.count(1)
        self._sending = threading.Lock()
        self.state: SandboxState = NO_SANDBOX
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # -P and -s: nothing from the working directory or a home joins sys.path.
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter and module
                [sys.executable, "-P", "-s", *command],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                cwd="/",
                env=zygote_environment(),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id of the zygote."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """
        Return once the zygote is preloaded and has found out what this kernel gives.

        Raises:
            ReplicaUnavailable: It ended, or is not ready in time.
        """
        self._control.settimeout(timeout_s)
        try:
            self._control.send(json.dumps(self._config).encode())
            hello = self._control.recv(MAX_NOTICE_BYTES)
            self.state = SandboxState(**parse_object(hello)["state"])
        except (OSError, BrokenFrame) as error:
            self.close()
            raise ReplicaUnavailable(
                "the vetting sandbox did not start: try again later", retry_after_s=10
            ) from error

    def run(
        self,
        header: JsonObject,
        blobs: Sequence[bytes | memoryview],
        *,
        memory_bytes: int,
        cpu_s: int,
        wall_clock_s: float,
    ) -> Outcome:
        """
        Run one job in a child of its own and wait for its end.

        Raises:
            ReplicaUnavailable: The zygote went away meanwhile.
        """
        number = next(self._numbers)
        order = {"do": "run", "job": number, "memory_bytes": memory_bytes, "cpu_s": cpu_s}
        with contextlib.ExitStack() as stack:
            job = _closing(stack, _job_file(header, blobs))
            pipes = [os.pipe() for _ in range(3)]
            _widen(pipes[0][1])
            verdict, printed, status = (_closing(stack, reading) for reading, _ in pipes)
            writing = [writing for _, writing in pipes]
            try:
                self._send(order, [job, *writing])
            finally:
                for descriptor in writing:
                    os.close(descriptor)
            watch = Watch(verdict=verdict, printed=printed, status=status)
            has_ended = watch.until_end(wall_clock_s)
            if not has_ended:
                self._send({"do": "kill", "job": number}, [])
                watch.until_end(REAP_TIMEOUT_S)
            return watch.outcome(is_timed_out=not has_ended and not watch.is_overflown)

    def close(self) -> None:
        """End the zygote and every child of it; safe to repeat."""
        self._control.close()
        if self.is_alive:
            # Children die with it: each asked for SIGKILL at its parent's death.
            self._process.kill()
        self._process.wait()

    def _send(self, order: JsonObject, descriptors: list[int]) -> None:
        try:
            with self._sending:
                socket.send_fds(self._control, [json.dumps(order).encode()], descriptors)
        except OSError as error:
            raise lost() from error


def _closing(stack: contextlib.ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def _widen(pipe: int) -> None:
    # A verdict of some megabytes would wake both sides a hundred times; without the right to a
    # larger pipe it still does.
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, READ_BYTES)


def _job_file(header: JsonObject, blobs: Sequence[bytes | memoryview]) -> int:
    """A read-only descriptor of an unnamed file in memory that holds the job."""
    writing = os.memfd_create("job")
    try:
        with os.fdopen(os.dup(writing), "wb") as file:
            file.write(json_frame(header))
            for blob in blobs:
                file.write(frame_head(len(blob)))
                file.write(blob)
        return os.open(f"/proc/self/fd/{writing}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(writing)

"""
The process that vetting children are forked from: preloaded, without secrets, single-threaded.

Started by ``zygote_client`` with one SOCK_SEQPACKET socket as its standard input.  Packets in:
the configuration, then ``run`` (with four descriptors) and ``kill``; packets out: one hello.  How
a child ended goes down that job's own status pipe.  At the socket's end everything ends.
"""

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from cluster.contracts import JsonObject, SandboxState
from cluster.scheduling import STARTING_NICENESS
from deployments.intake import child
from deployments.intake.lockdown import ChildLimits
from deployments.intake.probe import probe_sandbox
from deployments.intake.protocol import MAX_NOTICE_BYTES, json_frame, parse_object, write_all

LEAST_NICENESS = 19
#: job, verdict, printed, status
DESCRIPTORS_PER_JOB = 4


@dataclass(kw_only=True, slots=True)
class _Running:
    pid: int
    status: int
    #: Seconds that the child was ready to run and others ran, as known when it was ended.
    starved_s: float = 0.0


class Zygote:
    """Forks a child for each job and reports how it ended."""

    def __init__(self, control: socket.socket, work: child.Work) -> None:
        self._control = control
        self._work = work
        self._running: dict[int, _Running] = {}
        # A pipe of its own: the kernel's SIGCHLD wakes the selector through it.
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    def serve(self) -> None:
        """Return when the other side is gone and no child is left."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(self._wake_read, selectors.EVENT_READ)
            is_open = True
            while is_open:
                ready = {key.fileobj for key, _ in selector.select()}
                if self._wake_read in ready:
                    os.read(self._wake_read, 4096)
                    self._reap(os.WNOHANG)
                if self._control in ready:
                    is_open = self._obey()
        for running in self._running.values():
            os.kill(running.pid, signal.SIGKILL)
        self._reap(0)

    def _obey(self) -> bool:
        packet, descriptors, _, _ = socket.recv_fds(
            self._control, MAX_NOTICE_BYTES, DESCRIPTORS_PER_JOB
        )
        if not packet:
            return False
        command = parse_object(packet)
        if command["do"] == "run":
            self._fork(command, descriptors)
        elif (running := self._running.get(command["job"])) is not None:
            # The child is not reaped yet, so the number is still its own.
            running.starved_s = _starved_s(running.pid)
            os.kill(running.pid, signal.SIGKILL)
        return True

    def _fork(self, command: JsonObject, descriptors: list[int]) -> None:
        job, verdict, printed, status = descriptors
        limits = ChildLimits(memory_bytes=command["memory_bytes"], cpu_s=command["cpu_s"])
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            # The status pipe closes without a word, which the parent reads as "not run".
            for descriptor in descriptors:
                os.close(descriptor)
            return
        if pid == 0:
            signal.set_wakeup_fd(-1)
            child.run(
                self._work,
                parent=parent,
                job=job,
                verdict=verdict,
                printed=printed,
                limits=limits,
            )
        for descriptor in (job, verdict, printed):
            os.close(descriptor)
        self._running[command["job"]] = _Running(pid=pid, status=status)

    def _reap(self, options: int) -> None:
        while self._running:
            try:
                pid, ended, usage = os.wait4(-1, options)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = next((n for n, r in self._running.items() if r.pid == pid), None)
            if number is not None:
                _report_end(self._running.pop(number), ended, usage.ru_utime + usage.ru_stime)


def _report_end(running: _Running, ended: int, cpu_s: float) -> None:
    code = os.waitstatus_to_exitcode(ended)
    notice = {"code": code, "cpu_s": cpu_s, "starved_s": running.starved_s}
    try:
        write_all(running.status, json_frame(notice))
    except BrokenPipeError:
        pass  # the parent gave up on this job
    finally:
        os.close(running.status)


def _starved_s(pid: int) -> float:
    """Seconds that a process has waited for a core; 0 where the kernel keeps no such figure."""
    try:
        waited_ns = Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return 0.0
    return int(waited_ns) / 1e9


def serve(prepare: Callable[[JsonObject], child.Work]) -> None:
    """Serve the socket on standard input with the work that ``prepare`` makes of the config."""
    control = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    work = prepare(parse_object(control.recv(MAX_NOTICE_BYTES)))
    state = probe_sandbox()
    # What is loaded now stays: collecting it in a child would copy every page.
    gc.collect()
    gc.freeze()
    _weigh_session(LEAST_NICENESS)
    control.send(_hello(state))
    Zygote(control, work).serve()


def _weigh_session(niceness: int) -> None:
    """
    Make this session count for less beside others of the machine, where the kernel groups them.

    Under autogroup (sched(7)) a session as a whole has everybody's weight, however idle what runs
    in it; a kernel without it, or a container's control group, has nothing to write to.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(niceness), encoding="ascii")


def _hello(state: SandboxState) -> bytes:
    return json.dumps({"pid": os.getpid(), "state": asdict(state)}).encode()


if __name__ == "__main__":
    # Before its imports, which are seconds of work beside replicas that answer.
    os.nice(STARTING_NICENESS)
    _weigh_session(STARTING_NICENESS)
    from deployments.intake.vetting_work import prepare as prepare_vetting

    serve(prepare_vetting)
    sys.exit(0)

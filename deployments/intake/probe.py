"""Finds out which layers of the sandbox really hold here, by trying what they must deny."""

import errno
import json
import os
import resource
import socket
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import NoReturn

from cluster.contracts import SandboxState
from deployments.intake.lockdown import ChildLimits, lock_down

_DENIED = frozenset({errno.EPERM, errno.EACCES})
_PROBE_BYTES = 4096
#: Nothing at all, for a process in which even the probe failed.
NO_SANDBOX = SandboxState(landlock_abi=0, seccomp=False, rlimits=False)


def probe_sandbox() -> SandboxState:
    """What a forked child found; a layer counts only if what it forbids was denied."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _probe_and_exit(writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read(_PROBE_BYTES)
    os.waitpid(pid, 0)
    try:
        return SandboxState(**json.loads(answer))
    except (ValueError, TypeError):
        return NO_SANDBOX


def _probe_and_exit(writing: int) -> NoReturn:
    try:
        claimed = lock_down(ChildLimits(memory_bytes=64 * 1024 * 1024, cpu_s=5))
        state = replace(
            claimed,
            landlock_abi=claimed.landlock_abi if _is_denied(lambda: os.open("/", 0)) else 0,
            seccomp=claimed.seccomp
            and _is_denied(lambda: socket.socket(socket.AF_UNIX).close())
            and _is_denied(lambda: os.kill(os.getppid(), 0)),
            rlimits=claimed.rlimits and resource.getrlimit(resource.RLIMIT_FSIZE) == (0, 0),
        )
        os.write(writing, json.dumps(asdict(state)).encode())
    finally:
        os._exit(0)


def _is_denied(action: Callable[[], object]) -> bool:
    try:
        action()
    except OSError as error:
        return error.errno in _DENIED
    return False

"""
Takes from the calling process what a vetting child must not have: files, network, processes.

rlimits, no new privileges, no capabilities, landlock with an empty rule set, and a seccomp filter,
all by ctypes and for good.  Each layer says whether it holds; what an absent one closes is decided
by the caller.  Load this module before the lockdown: afterwards no library can be opened.
"""

import ctypes
import os
import platform
import resource
import signal
import struct
from dataclasses import dataclass
from pathlib import Path

from cluster.contracts import SandboxState
from deployments.intake.syscalls import (
    AUDIT_ARCH,
    CAPSET,
    DENIED,
    LANDLOCK_CREATE_RULESET,
    LANDLOCK_RESTRICT_SELF,
    PRLIMIT64,
    SECCOMP,
)

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_SECCOMP_SET_MODE_FILTER = 1
_LANDLOCK_CREATE_RULESET_VERSION = 1
_CAPABILITY_VERSION_3 = 0x20080522

# Classic BPF, linux/filter.h and linux/seccomp.h.
_LOAD, _JUMP_EQ, _JUMP_GE, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _KILL, _EPERM = 0x7FFF0000, 0x80000000, 0x00050001
_NR, _ARCH, _ARG2_LOW, _ARG2_HIGH = 0, 4, 32, 36  # offsets in struct seccomp_data
#: x32 calls on x86_64 carry this bit and would slip past the numbers.
_X32_BIT = 0x40000000

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildLimits:
    """What one child may use."""

    #: Bytes of address space beyond what the process has now.
    memory_bytes: int
    cpu_s: int
    open_files: int = 16


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def lock_down(limits: ChildLimits) -> SandboxState:
    """
    Confine the calling process for the rest of its life, as far as this kernel can.

    Returns:
        The layers that hold now.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(_PR_SET_DUMPABLE, 0)
    has_no_new_privileges = _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    has_rlimits = _set_rlimits(limits)
    landlock_abi = _restrict_files() if has_no_new_privileges else 0
    _drop_capabilities()
    has_seccomp = has_no_new_privileges and _filter_calls()
    return SandboxState(landlock_abi=landlock_abi, seccomp=has_seccomp, rlimits=has_rlimits)


def landlock_abi() -> int:
    """Version of landlock that this kernel offers; 0 for none."""
    version = _LIBC.syscall(
        LANDLOCK_CREATE_RULESET,
        None,
        ctypes.c_size_t(0),
        ctypes.c_uint32(_LANDLOCK_CREATE_RULESET_VERSION),
    )
    return max(int(version), 0)


def address_space_bytes() -> int:
    """Virtual size of this process now."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    return int(pages) * resource.getpagesize()


def _prctl(option: int, value: int) -> bool:
    zero = ctypes.c_ulong(0)
    return bool(_LIBC.prctl(option, ctypes.c_ulong(value), zero, zero, zero) == 0)


def _set_rlimits(limits: ChildLimits) -> bool:
    address_space = address_space_bytes() + limits.memory_bytes
    wanted = {
        resource.RLIMIT_AS: (address_space, address_space),
        # The soft limit ends the child by SIGXCPU, which names the reason; the hard one kills.
        resource.RLIMIT_CPU: (limits.cpu_s, limits.cpu_s + 1),
        resource.RLIMIT_FSIZE: (0, 0),
        resource.RLIMIT_NPROC: (0, 0),
        resource.RLIMIT_NOFILE: (limits.open_files, limits.open_files),
        resource.RLIMIT_CORE: (0, 0),
    }
    try:
        for kind, (soft, hard) in wanted.items():
            ceiling = resource.getrlimit(kind)[1]
            if ceiling != resource.RLIM_INFINITY:
                soft, hard = min(soft, ceiling), min(hard, ceiling)  # noqa: PLW2901
            resource.setrlimit(kind, (soft, hard))
    except (OSError, ValueError):
        return False
    return True


def _restrict_files() -> int:
    abi = landlock_abi()
    if abi == 0:
        return 0
    files = (1 << 13) - 1  # the rights of ABI 1
    files |= (1 << 13) if abi >= 2 else 0  # noqa: PLR2004  refer
    files |= (1 << 14) if abi >= 3 else 0  # noqa: PLR2004  truncate
    files |= (1 << 15) if abi >= 5 else 0  # noqa: PLR2004  ioctl on devices
    attributes = struct.pack("=Q", files)
    if abi >= 4:  # noqa: PLR2004
        attributes += struct.pack("=Q", 0b11)  # bind and connect of TCP
    if abi >= 6:  # noqa: PLR2004
        attributes += struct.pack("=Q", 0b11)  # abstract sockets and signals
    rules = _LIBC.syscall(
        LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0)
    )
    if rules < 0:
        return 0
    # No rule is ever added: nothing beneath anything is allowed.
    restricted = _LIBC.syscall(LANDLOCK_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0))
    os.close(rules)
    return abi if restricted == 0 else 0


def _drop_capabilities() -> None:
    """Without effect where the process has none; root loses what makes it root."""
    number = CAPSET.get(platform.machine())
    if number is not None:
        header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
        _LIBC.syscall(number, header, bytes(24))


def _filter_calls() -> bool:
    machine = platform.machine()
    if machine not in DENIED:
        return False
    program = bpf_program(machine)
    code = ctypes.create_string_buffer(program, len(program))
    loaded = _FilterProgram(len(program) // 8, ctypes.cast(code, ctypes.c_void_p))
    done = _LIBC.syscall(
        SECCOMP[machine], _SECCOMP_SET_MODE_FILTER, ctypes.c_uint(0), ctypes.byref(loaded)
    )
    return bool(done == 0)


def bpf_program(machine: str) -> bytes:
    """
    The seccomp filter: kills on a foreign architecture or x32, EPERM for what is denied.

    Args:
        machine: A key of ``syscalls.DENIED``.
    """
    lines = [_op(_LOAD, _ARCH), _op(_JUMP_EQ, AUDIT_ARCH[machine], 1, 0), _op(_RETURN, _KILL)]
    lines += [_op(_LOAD, _NR)]
    if machine == "x86_64":
        lines += [_op(_JUMP_GE, _X32_BIT, 0, 1), _op(_RETURN, _KILL)]
    for number in sorted(DENIED[machine].values()):
        lines += [_op(_JUMP_EQ, number, 0, 1), _op(_RETURN, _EPERM)]
    lines += [
        _op(_JUMP_EQ, PRLIMIT64[machine], 0, 5),
        _op(_LOAD, _ARG2_LOW),
        _op(_JUMP_EQ, 0, 0, 2),
        _op(_LOAD, _ARG2_HIGH),
        _op(_JUMP_EQ, 0, 1, 0),
        _op(_RETURN, _EPERM),
    ]
    return b"".join([*lines, _op(_RETURN, _ALLOW)])


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)

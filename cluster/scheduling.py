"""
Who goes first on a busy core: threads that answer by short time slices, replicas that start last.

Since Linux 6.6 (EEVDF, sched(7)) a thread may ask for slices shorter than everybody's: it gets no
more of a core than before, but in smaller and sooner pieces.  A request needs a tenth of a slice
and then waits; behind programs of the same priority it would wait for whole slices of theirs.
"""

import ctypes
import os
import platform
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

#: The least that the kernel takes.
SLICE_S = 0.0001
#: A tenth of everybody's weight: what starts comes up in the end, however busy the cores are.
STARTING_NICENESS = 10
#: By the kernel's tables of system calls; elsewhere slices stay as they are.
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
#: size, policy, flags, nice, priority, runtime, deadline, period, the least and most utilisation
_ATTRIBUTES = struct.Struct("=IIQiIQQQII")
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long


def take_short_slices() -> bool:
    """
    Every thread of this process, and those that they start from now on, runs in ``SLICE_S``.

    Returns:
        Whether the kernel took it for all of them; an older one takes and ignores it.
    """
    number = _SCHED_SETATTR.get(platform.machine())
    if number is None:
        return False
    # Each is asked, whatever the kernel said of the one before.
    taken = [_set_slice(number, int(task.name)) for task in Path("/proc/self/task").iterdir()]
    return all(taken)


def behind_others(work: Callable[[], T]) -> T:
    """
    What ``work`` returns, done at ``STARTING_NICENESS`` while the caller waits: imports, mostly.

    A rolling update starts as many replicas as there are, each with seconds of imports, on the
    cores of those that answer meanwhile.  In a thread that ends with the work, since a thread
    may give way, but without privileges never take its place again.
    """

    def give_way() -> T:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), STARTING_NICENESS)
        return work()

    with ThreadPoolExecutor(1, thread_name_prefix="start") as thread:
        return thread.submit(give_way).result()


def _set_slice(number: int, thread: int) -> bool:
    attributes = ctypes.create_string_buffer(
        _ATTRIBUTES.pack(
            _ATTRIBUTES.size,
            os.SCHED_OTHER,
            0,
            os.getpriority(os.PRIO_PROCESS, thread),
            0,
            round(SLICE_S * 1e9),
            *(0,) * 4,
        )
    )
    return bool(
        _LIBC.syscall(ctypes.c_long(number), ctypes.c_int(thread), attributes, ctypes.c_uint(0))
        == 0
    )

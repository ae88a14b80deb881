"""A thread that measures, on cores that it shares with what it measures."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def on_time() -> Iterator[bool]:
    """
    The caller's thread runs as soon as it can, where the kernel permits; yields whether it does.

    Callers have machines of their own.  Here they share the cores with what they measure, and
    would count their own wait for a core as the server's latency.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))

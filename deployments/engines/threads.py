"""Threads and warnings of the numeric libraries, kept down in a process of many models."""

import contextlib
import threading
import warnings

_pinned = threading.local()
#: Warnings of a library about one caller's rows are no news to the operator.
_QUIET_MODULES = r"(sklearn|scipy|numpy|pandas|joblib|deployments\.engines)(\.|$)"


def pin_threads() -> None:
    """
    Limit BLAS and OpenMP to one thread; costs something once per thread, then nothing.

    OpenMP keeps its limit per thread, hence the thread-local mark.
    """
    if getattr(_pinned, "is_done", False):
        return
    _pinned.is_done = True
    import threadpoolctl

    # Looking for libraries needs files, which the sandbox forbids; its environment pins them.
    with contextlib.suppress(OSError):
        threadpoolctl.threadpool_limits(limits=1)


def quiet_libraries() -> None:
    """
    Ignore the warnings that libraries raise while they predict; idempotent and cheap.

    ``catch_warnings`` swaps a global list and hence is not for threads; a filter is only added.
    """
    first = warnings.filters[0] if warnings.filters else None
    module = first[3] if first is not None else None
    if module is None or getattr(module, "pattern", None) != _QUIET_MODULES:
        warnings.filterwarnings("ignore", module=_QUIET_MODULES)

"""
A zygote with our own work, in which one input makes native code read where nothing is.

No honest file passes the gates and does that, so the fault is injected into the engine.
"""

import ctypes
import sys
from typing import Any

from cluster.contracts import Batch, JsonObject, Method
from deployments.engines.loaded import LoadedModel
from deployments.intake import zygote
from deployments.intake.child import Work
from deployments.intake.vetting_work import prepare as prepare_work

DEADLY = 666.0
_run = LoadedModel.run


def run_or_crash(self: LoadedModel, method: Method, batch: Batch) -> tuple[Any, str]:
    """What the model answers, unless the deadly number is among the rows."""
    if batch.matrix is not None and (batch.matrix == DEADLY).any():
        ctypes.string_at(0)
    return _run(self, method, batch)


def prepare(config: JsonObject) -> Work:
    """The real work with the fault in it."""
    LoadedModel.run = run_or_crash  # type: ignore[method-assign]  # the injected fault
    return prepare_work(config)


if __name__ == "__main__":
    zygote.serve(prepare)
    sys.exit(0)

"""
Which engine answers each method of a version: the compiled one where it is equal and faster.

Runs once, at vetting; the choice travels with the version, and the reasons against with its notes.
"""

import time
from dataclasses import dataclass, field

import numpy as np

from cluster.contracts import Batch, Method, Signature
from cluster.errors import PlatformError
from deployments.engines.base import Engine, Estimator, Matrix
from deployments.engines.compile import compile_model
from deployments.engines.compile_steps import NotCompilable
from deployments.engines.compiled import CompiledModel
from deployments.engines.native import NativeEngine
from deployments.engines.onnx import OnnxEngine, OnnxModel
from deployments.engines.parity import Comparison, compare
from deployments.engines.parity_rows import parity_rows
from deployments.engines.timing import seconds_per_call

#: One row in so many is compared again, once the numbers behind a label are known to be equal.
_SPARED = 4
#: An original that takes so many times as long need not be timed any further.
_FAR_SLOWER = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineChoice:
    """The engines of a version, by method."""

    engines: dict[str, str]
    #: Why a method is answered by scikit-learn itself; no entry where it is not.
    notes: dict[str, str] = field(default_factory=dict)
    #: Seconds for a single row by the chosen engine.
    cost_per_row_s: dict[str, float] = field(default_factory=dict)
    #: The compiled form that was compared; ``None`` where the estimator has none.
    compiled: CompiledModel | None = None
    #: Seconds that the comparison of compiled with original answers took.
    parity_s: float = 0.0


def choose_engines(estimator: object, signature: Signature, probe: Batch) -> EngineChoice:
    """
    Compile, compare, time: the engine of each method.

    Args:
        estimator: A fitted estimator, or an ``OnnxModel``.
        signature: Derived from it.
        probe: Canary rows of that signature.
    """
    if isinstance(estimator, OnnxModel):
        return _onnx_choice(estimator, signature, probe)
    native = NativeEngine(estimator, signature)
    compiled, why_not = _compiled(estimator, signature)
    rows = None
    if compiled is not None and probe.matrix is not None:
        rows = parity_rows(compiled, signature, probe.matrix)
    engines: dict[str, str] = {}
    notes: dict[str, str] = {}
    costs: dict[str, float] = {}
    is_exact = False
    parity_s = 0.0
    # Labels come last: see ``_rows_for``.
    for method in sorted(signature.methods, key=lambda one: one == "predict"):
        engine: Engine = native
        if compiled is None or rows is None:
            note, cost = why_not, seconds_of_one_row(native, method, probe)
        else:
            asked = _rows_for(method, rows, probe.rows, is_exact=is_exact)
            began_s = time.perf_counter()
            comparison = _compared(compiled, native, method, asked)
            parity_s += time.perf_counter() - began_s
            is_exact = comparison.is_exact
            engine, note, cost = _contest(compiled, native, method, comparison, probe)
        engines[method] = engine.name
        if cost is not None:
            costs[method] = cost
        if note:
            notes[method] = note
    return EngineChoice(
        engines=engines, notes=notes, cost_per_row_s=costs, compiled=compiled, parity_s=parity_s
    )


def compiled_or_none(estimator: Estimator, signature: Signature) -> CompiledModel | None:
    """The estimator's compiled form, where it has one; its answers are not compared here."""
    return _compiled(estimator, signature)[0]


def _compiled(estimator: Estimator, signature: Signature) -> tuple[CompiledModel | None, str]:
    if signature.container != "matrix":
        return None, "compiled models take numbers alone, and this one has other columns"
    try:
        return compile_model(estimator, len(signature.features)), ""
    except NotCompilable as exc:
        return None, str(exc)
    except (PlatformError, AttributeError, IndexError, KeyError, TypeError, ValueError) as exc:
        # An estimator of another library version may lack any of the parts that are read.
        return None, f"its fitted parts are not as expected ({type(exc).__name__})"


def _rows_for(method: Method, rows: Matrix, probed: int, *, is_exact: bool) -> Matrix:
    """All rows; for labels fewer, where the numbers they are made of were equal to the last bit."""
    if method != "predict" or not is_exact:
        return rows
    return np.concatenate([rows[:probed], rows[probed::_SPARED]])


def _compared(compiled: CompiledModel, native: Engine, method: Method, rows: Matrix) -> Comparison:
    if method not in compiled.methods:
        return Comparison(difference=f"{method} has no compiled form for this estimator")
    return compare(compiled, native, method, rows)


def _contest(
    compiled: CompiledModel, native: Engine, method: Method, comparison: Comparison, probe: Batch
) -> tuple[Engine, str, float | None]:
    if comparison.difference:
        return native, comparison.difference, seconds_of_one_row(native, method, probe)
    compiled_s = seconds_of_one_row(compiled, method, probe)
    far_slower_s = float("inf") if compiled_s is None else _FAR_SLOWER * compiled_s
    native_s = seconds_of_one_row(native, method, probe, enough_s=far_slower_s)
    if compiled_s is None or (native_s is not None and compiled_s >= native_s):
        return native, f"{method} is no faster when compiled", native_s
    return compiled, "", compiled_s


def seconds_of_one_row(
    engine: Engine, method: Method, probe: Batch, *, enough_s: float = float("inf")
) -> float | None:
    """
    Seconds for one row, the first of the probe that gets an answer; ``None`` if none does.

    ``enough_s`` as for ``seconds_per_call``.
    """
    for row in range(min(probe.rows, 16)):
        batch = probe.take(row, row + 1)
        seconds = seconds_per_call(engine, method, batch, enough_s=enough_s)
        if seconds is not None:
            return seconds
    return None


def _onnx_choice(model: OnnxModel, signature: Signature, probe: Batch) -> EngineChoice:
    engine = OnnxEngine(model, signature)
    timed = {method: seconds_of_one_row(engine, method, probe) for method in signature.methods}
    costs = {str(method): cost for method, cost in timed.items() if cost is not None}
    return EngineChoice(engines=dict.fromkeys(signature.methods, "onnx"), cost_per_row_s=costs)

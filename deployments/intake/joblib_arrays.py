"""
joblib's container: arrays lie raw in the file right after the wrapper that describes them.

Read here and never by joblib: the wrapper is a token, its numbers are checked, and an object
array, which joblib nests as a pickle of its own, goes through the same machine, table and budget.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployments.intake.constructors.arrays import check_shape, from_bytes
from deployments.intake.constructors.checks import is_count, wrong
from deployments.intake.machine import Machine

WRAPPER = ("joblib.numpy_pickle", "NumpyArrayWrapper")
_NAME = ".".join(WRAPPER)
_MAX_ALIGNMENT_BYTES = 64
_KEYS = frozenset(
    {"subclass", "shape", "order", "dtype", "allow_mmap", "numpy_array_alignment_bytes"}
)


def wrapper(machine: Machine, state: Any) -> NDArray[Any]:
    """The array that the wrapper with ``state`` describes, read from the bytes that follow it."""
    if type(state) is not dict or not set(state) <= _KEYS:
        raise wrong(_NAME, "its state has another form", reason="array")
    subclass, order, kind = state.get("subclass"), state.get("order"), state.get("dtype")
    if subclass is not np.ndarray or order not in {"C", "F"} or not isinstance(kind, np.dtype):
        raise wrong(_NAME, "it is for something but a plain array", reason="array")
    count = check_shape(_NAME, state.get("shape"))
    if kind.hasobject:
        return _nested(machine, kind, state["shape"])
    alignment = state.get("numpy_array_alignment_bytes")
    if alignment is not None:
        if not is_count(alignment, at_most=_MAX_ALIGNMENT_BYTES) or alignment == 0:
            raise wrong(_NAME, "its alignment is out of range", reason="array")
        padding = machine.read(1)[0]
        machine.read(padding)
    size = count * kind.itemsize
    if size > machine.left or kind.itemsize == 0:
        raise wrong(
            _NAME, f"it declares {size} bytes where {machine.left} are left", reason="array"
        )
    array = from_bytes(machine, _NAME, machine.read(size), kind, state["shape"], order)
    # As joblib does on load, so that compiled code meets the byte order of this machine.
    native = array.dtype.newbyteorder("=")
    return array if array.dtype.isnative or array.dtype.fields else array.astype(native)


def _nested(machine: Machine, kind: np.dtype[Any], shape: Any) -> NDArray[Any]:
    from deployments.intake.unpickler import load_from

    if kind != np.dtype(object):
        raise wrong(_NAME, "its element type mixes objects and numbers", reason="array")
    array, end = load_from(machine.content, machine.position, machine.grants, machine.budget)
    if type(array) is not np.ndarray or array.dtype != kind or array.shape != shape:
        raise wrong(_NAME, "its objects are another array than it says", reason="array")
    machine.position = end
    return array

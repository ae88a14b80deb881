"""
numpy arrays and scipy sparse matrices from bytes that are in the file.

An array's size is the product of its shape and must equal the bytes that come with it, so no
file can ask for more memory than it ships.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deployments.intake.constructors.checks import is_count, wrong
from deployments.intake.constructors.dtypes import is_storable
from deployments.intake.machine import Machine
from deployments.intake.tokens import Pending

RECONSTRUCT = "numpy._core.multiarray._reconstruct"
FROMBUFFER = "numpy._core.numeric._frombuffer"
MASKED = "numpy.ma.core._mareconstruct"
_MAX_DIMENSIONS = 32
#: What an element of an object array may be: class labels, categories, missing values.
_ELEMENTS = frozenset({str, int, float, bool, bytes, type(None)})


def check_shape(name: str, shape: Any) -> int:
    """The number of elements of ``shape``, a tuple of counts."""
    if type(shape) is not tuple or len(shape) > _MAX_DIMENSIONS:
        raise wrong(name, "the shape is no tuple of counts", reason="array")
    count = 1
    for length in shape:
        if not is_count(length):
            raise wrong(name, "the shape is no tuple of counts", reason="array")
        count *= length
    return count


def from_bytes(  # noqa: PLR0917 - what numpy.frombuffer needs and who asks
    machine: Machine, name: str, raw: Any, kind: Any, shape: Any, order: str
) -> NDArray[Any]:
    """A writable array of its own memory, charged to the budget; bytes must fit exactly."""
    count = check_shape(name, shape)
    if not is_storable(kind):
        raise wrong(name, "the element type is not one that lies as bytes", reason="array")
    if len(raw) != count * kind.itemsize:
        raise wrong(name, f"{len(raw)} bytes do not fill shape {shape}", reason="array")
    machine.budget.spend_array_bytes(len(raw))
    flat = np.frombuffer(raw, dtype=kind, count=count)
    return np.array(flat.reshape(shape, order="F" if order == "F" else "C"), order="K", copy=True)


def frombuffer(machine: Machine, args: tuple[Any, ...]) -> NDArray[Any]:
    """``_frombuffer(bytes, dtype, shape, order[, axis_order])`` of pickle protocol 5."""
    if len(args) not in {4, 5} or type(args[0]) not in {bytes, bytearray}:
        raise wrong(FROMBUFFER, "takes bytes, type, shape and order", reason="array")
    raw, kind, shape, order = args[:4]
    axes = args[4] if len(args) == 5 else None  # noqa: PLR2004 - the fifth argument
    if order == "K" and axes is not None:
        array = from_bytes(machine, FROMBUFFER, raw, kind, shape, "C")
        if type(axes) is not tuple or sorted(axes) != list(range(len(shape))):
            raise wrong(FROMBUFFER, "the axes are no permutation", reason="array")
        return array.transpose(axes)
    if order not in {"C", "F"} or axes is not None:
        raise wrong(FROMBUFFER, "the order is neither C nor F", reason="array")
    return from_bytes(machine, FROMBUFFER, raw, kind, shape, order)


def reconstruct(_machine: Machine, args: tuple[Any, ...]) -> Pending:
    """``_reconstruct(ndarray, (0,), b"b")``; the array comes with its state."""
    if len(args) != 3 or args[0] is not np.ndarray or args[1:] not in {((0,), b"b"), ((0,), "b")}:  # noqa: PLR2004 - three
        raise wrong(RECONSTRUCT, "is called for something but an empty array", reason="array")
    return Pending(RECONSTRUCT, _finish_array)


def _finish_array(machine: Machine, state: Any) -> NDArray[Any]:
    if type(state) is not tuple or len(state) != 5:  # noqa: PLR2004 - numpy's state version 1
        raise wrong(RECONSTRUCT, "its state has another form", reason="array")
    _, shape, kind, is_fortran, raw = state
    if not isinstance(kind, np.dtype) or type(is_fortran) not in {bool, int}:
        raise wrong(RECONSTRUCT, "its state has another form", reason="array")
    order = "F" if is_fortran else "C"
    if kind == np.dtype(object):
        return objects(machine, RECONSTRUCT, raw, shape, order)
    if type(raw) not in {bytes, bytearray}:
        raise wrong(RECONSTRUCT, "its data are no bytes", reason="array")
    return from_bytes(machine, RECONSTRUCT, raw, kind, shape, order)


def objects(machine: Machine, name: str, items: Any, shape: Any, order: str) -> NDArray[Any]:
    """
    An object array of ``items`` in the given memory order.

    Elements are text, numbers, None and dates; arrays and estimators too, since scikit-learn
    keeps such arrays itself (``GradientBoosting.estimators_``): the walk after the load checks
    those like any other value.
    """
    count = check_shape(name, shape)
    if type(items) is not list or len(items) != count:
        raise wrong(name, f"its objects do not fill shape {shape}", reason="array")
    machine.budget.spend_object_elements(count)
    flat = np.empty(count, dtype=object)
    for index, item in enumerate(items):
        flat[index] = item
    return flat.reshape(shape, order="F" if order == "F" else "C")


def masked(_machine: Machine, args: tuple[Any, ...]) -> Pending:
    """``_mareconstruct(MaskedArray, ndarray, (0,), "b")``, as searches keep in ``cv_results_``."""
    good = len(args) == 4 and args[0] is np.ma.MaskedArray and args[1] is np.ndarray  # noqa: PLR2004 - four
    if not good or args[2] != (0,) or args[3] not in {"b", b"b"}:
        raise wrong(MASKED, "is called for something but an empty array", reason="array")
    return Pending(MASKED, _finish_masked)


def _finish_masked(machine: Machine, state: Any) -> Any:
    if type(state) is not tuple or len(state) != 7:  # noqa: PLR2004 - numpy.ma's state
        raise wrong(MASKED, "its state has another form", reason="array")
    values = _finish_array(machine, (1, *state[1:5]))
    mask = from_bytes(machine, MASKED, state[5], np.dtype(bool), state[1], "C")
    if values.dtype == np.dtype(object):
        return np.ma.MaskedArray(values, mask=mask)
    if state[6] is not None and (
        not isinstance(state[6], np.ndarray) or state[6].dtype != values.dtype or state[6].size != 1
    ):
        raise wrong(MASKED, "its fill value has another type", reason="array")
    fill: Any = None if state[6] is None else state[6].reshape(())[()]
    return np.ma.MaskedArray(values, mask=mask, fill_value=fill)


def sparse_matrix(cls: Any) -> Any:
    """The finisher for an instance of ``cls`` (csr or csc, matrix or array)."""

    def finish(_machine: Machine, state: Any) -> Any:
        name = f"{cls.__module__}.{cls.__qualname__}"
        if type(state) is not dict or not {"indptr", "indices", "data", "_shape"} <= set(state):
            raise wrong(name, "its state has another form", reason="native")
        return compressed(cls, state["data"], state["indices"], state["indptr"], state["_shape"])

    return finish


def compressed(cls: Any, data: Any, indices: Any, indptr: Any, shape: Any) -> Any:
    """A csr or csc matrix whose indices are all within its shape."""
    name = f"{cls.__module__}.{cls.__qualname__}"
    arrays = (data, indices, indptr)
    if any(type(part) is not np.ndarray or part.ndim != 1 for part in arrays):
        raise wrong(name, "its parts are no flat arrays", reason="native")
    if data.dtype.kind not in "?biuf" or indices.dtype.kind != "i" or indptr.dtype.kind != "i":
        raise wrong(name, "its parts are no numbers", reason="native")
    whole = tuple(int(length) if isinstance(length, np.integer) else length for length in shape)
    if check_shape(name, whole) < 0 or len(whole) != 2:  # noqa: PLR2004 - rows and columns
        raise wrong(name, "its shape is no pair", reason="native")
    _check_pointers(name, data, indices, indptr, whole, is_rows="csr" in cls.__name__)
    return cls((data, indices, indptr), shape=whole)


def _check_pointers(
    name: str,
    data: NDArray[Any],
    indices: NDArray[Any],
    indptr: NDArray[Any],
    shape: tuple[int, ...],
    *,
    is_rows: bool,
) -> None:
    major, minor = shape if is_rows else (shape[1], shape[0])
    good = (
        len(indptr) == major + 1
        and len(indices) == len(data)
        and indptr[0] == 0
        and indptr[-1] == len(indices)
        and bool(np.all(np.diff(indptr) >= 0))
        and (len(indices) == 0 or (indices.min() >= 0 and indices.max() < minor))
    )
    if not good:
        raise wrong(name, "its indices leave its shape", reason="native")


def is_element(value: Any) -> bool:
    """True for what an object array of labels or categories holds."""
    return type(value) in _ELEMENTS or isinstance(value, np.generic)

"""skops nodes that hold numbers: arrays, scalars, masked arrays, sparse matrices, dtypes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from deployments.intake.constructors.arrays import check_shape, compressed, objects
from deployments.intake.constructors.checks import wrong
from deployments.intake.npy import read_npy
from deployments.intake.refusals import unlisted
from deployments.intake.zip_container import unzip

if TYPE_CHECKING:
    from deployments.intake.skops_reader import SkopsSchema

_ARRAY = ("numpy", "ndarray")
_SPARSE = {
    (cls.__module__, cls.__qualname__): cls
    for cls in (sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csc_array)
}


def _array(schema: "SkopsSchema", state: dict[str, Any]) -> Any:
    pair = schema.pair(state)
    if state.get("type") == "json":
        if pair != _ARRAY:
            raise unlisted(".".join(pair))
        return _objects(schema, state)
    array = read_npy(schema.machine, schema.member(state, ".npy"))
    if pair == _ARRAY:
        return array
    if array.ndim == 0 and type(array[()]).__name__ == pair[1] and pair[0] == "numpy":
        return array[()]
    raise unlisted(".".join(pair))


def _objects(schema: "SkopsSchema", state: dict[str, Any]) -> NDArray[Any]:
    shape = schema.build(state["shape"])
    check_shape("numpy.ndarray", shape)
    items = [schema.build(item) for item in state["content"]]
    for _ in shape[1:]:
        # Rows of a nested array come as lists of lists.
        if not all(type(item) is list for item in items):
            raise wrong("numpy.ndarray", "its rows are no lists", reason="array")
        items = [part for item in items for part in item]
    return objects(schema.machine, "numpy.ndarray", items, shape, "C")


def _masked(schema: "SkopsSchema", state: dict[str, Any]) -> Any:
    content = state["content"]
    values, mask = schema.build(content["data"]), schema.build(content["mask"])
    if type(values) is not np.ndarray or not isinstance(mask, (np.ndarray, np.bool_)):
        raise wrong("numpy.ma.MaskedArray", "it holds no arrays", reason="array")
    if mask.dtype != bool or mask.shape not in {(), values.shape}:
        raise wrong("numpy.ma.MaskedArray", "its mask has another shape", reason="array")
    return np.ma.MaskedArray(values, mask=mask)


def _dtype(schema: "SkopsSchema", state: dict[str, Any]) -> np.dtype[Any]:
    value = schema.build(state["content"])
    if type(value) is not np.ndarray:
        raise wrong("numpy.dtype", "it holds no array", reason="array")
    kind: np.dtype[Any] = value.dtype
    return kind


def _sparse(schema: "SkopsSchema", state: dict[str, Any]) -> Any:
    pair = schema.pair(state)
    cls = _SPARSE.get(pair)
    if cls is None:
        raise unlisted(".".join(pair))
    # save_npz puts a zip of .npy files into the zip.
    members = unzip(schema.member(state, ".npz"), schema.budget.limits)
    parts = {
        name: read_npy(schema.machine, members[f"{name}.npy"])
        for name in ("data", "indices", "indptr", "shape")
    }
    shape = tuple(int(length) for length in parts["shape"])
    return compressed(cls, parts["data"], parts["indices"], parts["indptr"], shape)


ARRAY_NODES: dict[str, Callable[["SkopsSchema", dict[str, Any]], Any]] = {
    "NdArrayNode": _array,
    "MaskedArrayNode": _masked,
    "DTypeNode": _dtype,
    "SparseMatrixNode": _sparse,
}

"""Which constructor of ours stands for which name; a derived CTOR without an entry is a fault."""

from collections.abc import Callable
from typing import Any

from scipy import sparse

from deployments.intake.constructors import (
    arrays,
    arrow,
    builtins,
    dtypes,
    frames,
    natives,
    random_states,
)
from deployments.intake.joblib_arrays import WRAPPER, wrapper
from deployments.intake.machine import Machine

Constructor = Callable[[Machine, tuple[Any, ...]], Any]
Finisher = Callable[[Machine, Any], Any]

#: (module, name) -> constructor called by REDUCE.
CONSTRUCTORS: dict[tuple[str, str], Constructor] = {
    ("_codecs", "encode"): builtins.encode,
    ("builtins", "slice"): builtins.slice_,
    ("builtins", "range"): builtins.range_,
    ("builtins", "bytearray"): builtins.bytearray_,
    ("collections", "OrderedDict"): builtins.ordered_dict,
    ("collections", "defaultdict"): builtins.default_dict,
    ("datetime", "date"): builtins.date,
    ("datetime", "datetime"): builtins.moment,
    ("functools", "partial"): builtins.partial,
    ("numpy", "dtype"): dtypes.dtype,
    ("numpy._core.multiarray", "_reconstruct"): arrays.reconstruct,
    ("numpy._core.multiarray", "scalar"): dtypes.scalar,
    ("numpy._core.numeric", "_frombuffer"): arrays.frombuffer,
    ("numpy.ma.core", "_mareconstruct"): arrays.masked,
    ("numpy.random._pickle", "__bit_generator_ctor"): random_states.bit_generator,
    ("numpy.random._pickle", "__generator_ctor"): random_states.generator,
    ("numpy.random._pickle", "__randomstate_ctor"): random_states.random_state,
    ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"): random_states.seed_sequence,
    ("pandas", "StringDtype"): frames.string_dtype,
    ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked"): frames.backed,
    ("pandas.core.indexes.base", "_new_Index"): frames.new_index,
    ("pyarrow.lib", "type_for_alias"): arrow.type_for_alias,
    ("pyarrow.lib", "py_buffer"): arrow.py_buffer,
    ("pyarrow.lib", "_restore_array"): arrow.restore_array,
    ("pyarrow.lib", "chunked_array"): arrow.chunked_array,
    ("sklearn._loss._loss", "__pyx_unpickle_CyHalfMultinomialLoss"): natives.multinomial,
    ("sklearn.metrics._dist_metrics", "newObj"): natives.distance,
    ("sklearn.tree._tree", "Tree"): natives.tree,
    **{(cls.__module__, "newObj"): natives.neighbour_tree(cls) for cls in natives.NEIGHBOUR_TREES},
    **{(cls.__module__, cls.__qualname__): natives.loss(cls) for cls in natives.LOSSES},
}
#: Types that are values and, called by REDUCE, constructors.
CALLABLE_TYPES: dict[tuple[str, str], Constructor] = {
    ("builtins", "bytes"): builtins.bytes_,
    ("builtins", "complex"): builtins.complex_,
    ("builtins", "set"): builtins.set_of(set),
    ("builtins", "frozenset"): builtins.set_of(frozenset),
}
#: (module, name) -> finisher of an instance whose state is checked as a whole.
FINISHERS: dict[tuple[str, str], Finisher] = {
    ("scipy.interpolate._bsplines", "BSpline"): natives.spline,
    ("pandas.arrays", "ArrowStringArray"): arrow.string_array,
    WRAPPER: wrapper,
    **{
        (cls.__module__, cls.__qualname__): arrays.sparse_matrix(cls)
        for cls in (sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csc_array)
    },
}

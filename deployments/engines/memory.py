"""
Bytes that a loaded model takes, by walking it.

Arrays count by their buffers, native trees by their tables, everything else by
``sys.getsizeof``; shared parts once.
"""

import sys
from typing import Any

import numpy as np

#: ``sklearn.tree._tree.Node``: seven fields, padded; one per node of capacity.
_TREE_NODE_BYTES = 64
#: Per object that the walk cannot look into.
_OPAQUE_BYTES = 256


def measured_bytes(root: object) -> int:
    """Bytes of everything reachable from ``root`` that is not a module, class or function."""
    seen: set[int] = set()
    # The stack also keeps temporaries alive, so that no id is used twice.
    kept: list[Any] = []
    total, stack = 0, [root]
    while stack:
        value = stack.pop()
        if id(value) in seen or isinstance(value, type) or callable_alone(value):
            continue
        seen.add(id(value))
        kept.append(value)
        total += _own_bytes(value)
        stack.extend(_children(value))
    return total


def callable_alone(value: object) -> bool:
    """Whether it is code, which the process has anyway."""
    return type(value).__name__ in {"function", "builtin_function_or_method", "module", "method"}


def _own_bytes(value: Any) -> int:
    if isinstance(value, np.ndarray):
        # A view adds nothing to the array it looks into, which is reached through ``base``.
        header = sys.getsizeof(value) if value.base is not None else 112
        return header + (0 if isinstance(value.base, np.ndarray) else value.nbytes)
    if hasattr(value, "node_count") and hasattr(value, "max_n_classes"):
        return int(value.capacity) * _TREE_NODE_BYTES + int(value.value.nbytes) + _OPAQUE_BYTES
    if _is_native_tree(value):
        return _OPAQUE_BYTES
    return sys.getsizeof(value, _OPAQUE_BYTES)


def _is_native_tree(value: Any) -> bool:
    return hasattr(value, "get_tree_stats") and hasattr(value, "get_arrays")


def _children(value: Any) -> list[Any]:
    if isinstance(value, np.ndarray):
        own = list(value.flat) if value.dtype == object else []
        return own if value.base is None else [*own, value.base]
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    if _is_native_tree(value):
        return [np.asarray(array) for array in value.get_arrays()]
    return [vars(value)] if hasattr(value, "__dict__") else []

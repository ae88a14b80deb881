"""What the inputs and outputs of an ONNX graph are for, told by their types and names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from cluster.contracts import FeatureType, Method
from cluster.errors import UploadRefused

_TENSOR = re.compile(r"tensor\((\w+)\)")
#: ONNX element type to numpy dtype and feature type.
ELEMENTS: dict[str, tuple[str, FeatureType]] = {
    "float": ("float32", "number"),
    "double": ("float64", "number"),
    "float16": ("float16", "number"),
    "int64": ("int64", "integer"),
    "int32": ("int32", "integer"),
    "string": ("object", "string"),
    "bool": ("bool", "boolean"),
}
_LABELS = frozenset({"int64", "int32", "string", "bool"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Port:
    """One input or output of a graph."""

    name: str
    #: ONNX element type; "map" for ZipMap's sequence of maps, "" for anything else.
    element: str
    #: Dimensions; ``None`` where they are free.
    shape: tuple[int | None, ...]

    @classmethod
    def of(cls, argument: Any) -> Self:
        """The port that an ``onnxruntime.NodeArg`` describes."""
        match = _TENSOR.fullmatch(argument.type)
        element = match[1] if match else ""
        if argument.type.startswith("seq(map("):
            element = "map"
        shape = tuple(size if isinstance(size, int) else None for size in argument.shape or ())
        return cls(name=argument.name, element=element, shape=shape)

    @property
    def rows(self) -> int | None:
        """The fixed number of rows, where the graph has one."""
        return self.shape[0] if self.shape else None

    @property
    def dtype(self) -> str:
        """The numpy dtype that the port takes or gives."""
        return ELEMENTS[self.element][0]


def output_roles(ports: Sequence[Port]) -> dict[Method, Port]:
    """
    Which output answers which method.

    A label output is ``predict``, and beside it probabilities (a tensor or ZipMap's maps) are
    ``predict_proba``, scores ``decision_function``; a lone float output is ``predict``.
    """
    roles: dict[Method, Port] = {}
    has_label = any(port.element in _LABELS for port in ports)
    for port in ports:
        method = _method_of(port, has_label=has_label)
        if method is not None:
            roles.setdefault(method, port)
    return roles


def _method_of(port: Port, *, has_label: bool) -> Method | None:
    if port.element == "map":
        return "predict_proba"
    if port.element in _LABELS:
        return "predict"
    if port.element not in ELEMENTS:
        return None
    if not has_label:
        return "predict"
    return "decision_function" if "score" in port.name.lower() else "predict_proba"


def columns_of(ports: Sequence[Port]) -> list[tuple[str, str]]:
    """
    Name and ONNX element type of each feature: the columns of one input, or one input each.

    Raises:
        UploadRefused: The inputs are neither.
    """
    if len(ports) == 1 and _is_table(ports[0]):
        width = ports[0].shape[1]
        if width is not None and width > 1:
            return [(f"x{index}", ports[0].element) for index in range(width)]
    if ports and all(_is_table(port) and port.shape[1] == 1 for port in ports):
        return [(port.name, port.element) for port in ports]
    raise UploadRefused(
        "the ONNX graph takes neither one table [rows, features] with a fixed number of features "
        "nor one input [rows, 1] for each; export it with such inputs",
        gate="onnx",
        reason="features",
    )


def _is_table(port: Port) -> bool:
    return port.element in ELEMENTS and len(port.shape) == 2  # noqa: PLR2004

"""
ONNX files: parsed from the bytes alone, then walked node by node before any runtime sees them.

External data, custom domains, local functions, unbounded loops and tensors larger than their
bytes are refused; trees are checked like scikit-learn's own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # ships no types

from deployments.engines import onnx as engine
from deployments.intake.limits import Limits
from deployments.intake.onnx_tensors import TensorBudget
from deployments.intake.onnx_trees import TREE_OPERATORS, check_trees
from deployments.intake.refusals import refusal

_DOMAINS = {"": 1, "ai.onnx": 1, "ai.onnx.ml": 1}
_MAX_ML_OPSET = 5
_MAX_GRAPH_DEPTH = 8
_MAX_TRIPS = 100_000
#: Operators whose output size is a number in the file: name -> position of that input.
_SIZED = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1, "Range": 1}
_MAX_ELEMENTS = 1 << 27


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxModel(engine.OnnxModel):
    """A vetted ONNX file; ``content`` goes to the runtime as bytes, never as a path."""

    #: Names of the graph's inputs, initializers excluded.
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    opset: int


def read_onnx(content: bytes, limits: Limits) -> OnnxModel:
    """
    The vetted model.

    Raises:
        UploadRefused: gate2, reason "onnx".
    """
    if len(content) > limits.max_inflated_bytes:
        raise refused(f"the file is larger than {limits.max_inflated_bytes} bytes")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise refused("the file is no ONNX model or is cut short") from error
    opset = _check_opsets(model)
    if model.functions or model.training_info:
        raise refused("the model brings functions or training steps of its own")
    walk = _Walk(limits)
    walk.graph(model.graph, 0)
    known = {tensor.name for tensor in model.graph.initializer}
    inputs = tuple(value.name for value in model.graph.input if value.name not in known)
    outputs = tuple(value.name for value in model.graph.output)
    if not inputs or not outputs:
        raise refused("the model has no input or no output")
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise refused("the model does not pass ONNX's own checker") from error
    return OnnxModel(content=content, inputs=inputs, outputs=outputs, opset=opset)


def refused(what: str, name: str = "") -> Exception:
    """The refusal of an ONNX file, with a way out."""
    return refusal(
        f"gate2: {what}: export the model again with skl2onnx or its library's own exporter, "
        "standard operators only, weights inside the file",
        gate="gate2",
        reason="onnx",
        name=name,
    )


def _check_opsets(model: onnx.ModelProto) -> int:
    newest = onnx.defs.onnx_opset_version()
    found = 0
    for imported in model.opset_import:
        if imported.domain not in _DOMAINS:
            raise refused(f"the operator domain {imported.domain[:80]!r} is not a standard one")
        bound = _MAX_ML_OPSET if imported.domain == "ai.onnx.ml" else newest
        if not 1 <= imported.version <= bound:
            raise refused(f"operator set {imported.version} is newer than {bound}, the newest here")
        if imported.domain != "ai.onnx.ml":
            found = int(imported.version)
    if model.ir_version < 1 or not model.opset_import:
        raise refused("the model names no operator set")
    return found or newest


class _Walk:
    """One pass over a graph and its subgraphs, with shared budgets."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._nodes = 0
        self._tensors = TensorBudget(limits)

    def graph(self, graph: Any, depth: int) -> None:
        """Check one graph; ``depth`` counts the graphs around it."""
        if depth > _MAX_GRAPH_DEPTH:
            raise refused("its graphs are nested too deep")
        if graph.sparse_initializer:
            raise refused("it holds sparse weights")
        constants: dict[str, Any] = {}
        for tensor in graph.initializer:
            self._tensors.check(tensor)
            constants[tensor.name] = tensor
        for node in graph.node:
            self._node(node, constants, depth)

    def _node(self, node: Any, constants: dict[str, Any], depth: int) -> None:
        self._nodes += 1
        if self._nodes > self._limits.max_onnx_nodes:
            raise refused(f"it has more than {self._limits.max_onnx_nodes} nodes")
        if node.domain not in _DOMAINS:
            raise refused(f"operator {node.op_type[:80]!r} is of a custom domain", node.op_type)
        for attribute in node.attribute:
            for tensor in _tensors(attribute):
                self._tensors.check(tensor)
                if node.op_type == "Constant" and node.output:
                    constants[node.output[0]] = tensor
            for graph in _graphs(attribute):
                self.graph(graph, depth + 1)
            if attribute.sparse_tensor.ByteSize() or attribute.sparse_tensors:
                raise refused("it holds sparse weights")
        _check_loop(node, constants)
        _check_size(node, constants)
        if node.op_type in TREE_OPERATORS:
            check_trees(node)
        elif node.op_type == "TreeEnsemble":
            raise refused("it uses TreeEnsemble of ai.onnx.ml 5: export with ai.onnx.ml 3")


def _tensors(attribute: Any) -> Iterator[Any]:
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors


def _graphs(attribute: Any) -> Iterator[Any]:
    if attribute.HasField("g"):
        yield attribute.g
    yield from attribute.graphs


def _numbers(name: str, constants: dict[str, Any]) -> list[int] | None:
    tensor = constants.get(name)
    if tensor is None:
        return None
    values = onnx.numpy_helper.to_array(tensor).ravel()
    return [int(value) for value in values[:64]]


def _check_loop(node: Any, constants: dict[str, Any]) -> None:
    if node.op_type != "Loop":
        return
    trips = _numbers(node.input[0], constants) if node.input and node.input[0] else None
    if not trips or not 0 <= trips[0] <= _MAX_TRIPS:
        raise refused("it has a Loop without a constant bound", "Loop")


def _check_size(node: Any, constants: dict[str, Any]) -> None:
    position = _SIZED.get(node.op_type)
    if position is None or len(node.input) <= position:
        return
    elements = 1
    for length in _numbers(node.input[position], constants) or []:
        elements *= max(abs(length), 1)
    if elements > _MAX_ELEMENTS:
        raise refused(f"{node.op_type} makes {elements} numbers", node.op_type)

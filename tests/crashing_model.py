"""
An honest model with a query of death, as ONNX: whole numbers divided by whole numbers.

Processors of x86 trap where the least integer of 32 bits is divided by -1, since the quotient has
no room in 32 bits, and ONNX Runtime 1.32 divides without a look: SIGFPE ends the process.
"""

import platform

import pytest
from onnx import TensorProto, helper

QUOTIENT = [7.0, 2.0]
#: What takes the process down; each number alone is harmless.
DEADLY = [-(2.0**31), -1.0]

needs_trap = pytest.mark.skipif(
    platform.machine() not in {"x86_64", "AMD64"},
    reason="only x86 traps where a quotient overflows",
)


def crashing_model() -> bytes:
    """The quotient of two columns, cut to a whole number; whatever is divided by 0 stays as is."""
    nodes = [
        helper.make_node("Cast", ["x"], ["whole"], to=TensorProto.INT32),
        helper.make_node("Gather", ["whole", "first"], ["above"], axis=1),
        helper.make_node("Gather", ["whole", "second"], ["below"], axis=1),
        helper.make_node("Equal", ["below", "zero"], ["is_zero"]),
        helper.make_node("Where", ["is_zero", "one", "below"], ["divisor"]),
        helper.make_node("Div", ["above", "divisor"], ["quotient"]),
        helper.make_node("Cast", ["quotient"], ["variable"], to=TensorProto.DOUBLE),
    ]
    constants = [
        helper.make_tensor("first", TensorProto.INT64, [1], [0]),
        helper.make_tensor("second", TensorProto.INT64, [1], [1]),
        helper.make_tensor("zero", TensorProto.INT32, [1], [0]),
        helper.make_tensor("one", TensorProto.INT32, [1], [1]),
    ]
    graph = helper.make_graph(
        nodes,
        "quotient",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None, 2])],
        [helper.make_tensor_value_info("variable", TensorProto.DOUBLE, [None, 1])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return bytes(model.SerializeToString())

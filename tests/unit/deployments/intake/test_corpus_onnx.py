"""Corpus of the intake, cases 96 to 100: hostile ONNX files."""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from cluster.errors import UploadRefused
from deployments.intake.formats import detect
from deployments.intake.onnx_reader import OnnxModel
from deployments.intake.reader import read_model

WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3)


def model(
    change: Callable[[Any], None] | None = None,
    nodes: list[Any] | None = None,
    main: int = 15,
    ml: int = 3,
) -> bytes:
    """A matrix product, changed before it is written."""
    graph = helper.make_graph(
        nodes or [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3])],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    imports = [helper.make_opsetid("", main)]
    imports.append(helper.make_opsetid("ai.onnx.ml", ml))
    made = helper.make_model(graph, opset_imports=imports)
    if change is not None:
        change(made)
    return bytes(made.SerializeToString())


def refusal_of(content: bytes) -> UploadRefused:
    """The refusal of ``content`` by gates 0 to 3."""
    with pytest.raises(UploadRefused) as refused:
        read_model(content, detect(content))
    return refused.value


def test_honest_model_is_accepted() -> None:
    content = model()
    loaded = read_model(content, detect(content))

    assert isinstance(loaded, OnnxModel)
    assert (loaded.inputs, loaded.outputs, loaded.opset) == (("x",), ("y",), 15)


@pytest.mark.parametrize("location", ["../../etc/passwd", "/etc/passwd", "link", ""])
def test_96_external_data_is_refused(location: str) -> None:
    def change(made: Any) -> None:
        tensor = made.graph.initializer[0]
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        tensor.ClearField("raw_data")

    assert refusal_of(model(change)).context["reason"] == "onnx"


def test_96_external_data_in_a_constant_of_a_subgraph_is_refused() -> None:
    tensor = numpy_helper.from_array(WEIGHTS, "c")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["y"], value=tensor)],
        "i",
        [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 3])],
    )
    node = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)

    assert "outside" in refusal_of(model(nodes=[node])).message


def test_97_custom_domain_is_refused() -> None:
    node = helper.make_node("Evil", ["x"], ["y"], domain="com.evil")

    assert refusal_of(model(nodes=[node])).context["reason"] == "onnx"


def test_97_import_of_a_custom_domain_is_refused() -> None:
    def change(made: Any) -> None:
        made.opset_import.add(domain="com.microsoft", version=1)

    assert "com.microsoft" in refusal_of(model(change)).message


def test_97_local_function_is_refused() -> None:
    def change(made: Any) -> None:
        made.functions.add(name="f", domain="ai.onnx.ml")

    assert refusal_of(model(change)).context["reason"] == "onnx"


def _loop(trips: list[Any], bound: str) -> list[Any]:
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"])],
        "b",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("d", TensorProto.BOOL, [])],
    )
    return [*trips, helper.make_node("Loop", [bound, ""], ["y"], body=body)]


def _constant(name: str, *numbers: int) -> Any:
    tensor = numpy_helper.from_array(np.array(numbers, np.int64), name)
    return helper.make_node("Constant", [], [name], value=tensor)


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param(_loop([], ""), id="98 endless"),
        pytest.param(_loop([], "x"), id="98 bound by the caller"),
        pytest.param(_loop([_constant("n", 2**40)], "n"), id="98 too long"),
        pytest.param(
            [_constant("n", 2**40), helper.make_node("ConstantOfShape", ["n"], ["y"])], id="98 size"
        ),
        pytest.param(
            [_constant("n", 2**20, 2**20), helper.make_node("Expand", ["x", "n"], ["y"])],
            id="98 expand",
        ),
    ],
)
def test_98_endless_loops_and_huge_outputs_are_refused(nodes: list[Any]) -> None:
    assert refusal_of(model(nodes=nodes)).context["reason"] == "onnx"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(model() + b"\x3a" + b"\xff" * 8 + b"\x01", id="length beyond the file"),
        pytest.param(b"\x08\x08\x3a" + struct.pack("<Q", 2**31)[:5], id="2 GiB"),
        pytest.param(model()[:-3], id="cut"),
        pytest.param(b"\x08" + b"\x80" * 20, id="endless number"),
    ],
)
def test_99_lying_lengths_are_refused(content: bytes) -> None:
    assert refusal_of(content).context["reason"] in {"type", "onnx"}


@pytest.mark.parametrize("opsets", [{"main": 999}, {"ml": 99}, {"main": 0}])
def test_100_operator_sets_of_the_future_are_refused(opsets: dict[str, int]) -> None:
    assert (
        refusal_of(model(main=opsets.get("main", 15), ml=opsets.get("ml", 3))).context["reason"]
        == "onnx"
    )


@pytest.mark.parametrize("dims", [(4, 4), (2**20, 2**20), (-4, 3)])
def test_weight_whose_bytes_do_not_fill_its_shape_is_refused(dims: tuple[int, int]) -> None:
    def change(made: Any) -> None:
        made.graph.initializer[0].dims[:] = dims

    assert refusal_of(model(change)).context["reason"] == "onnx"


def _trees(**changes: list[int]) -> bytes:
    lists: dict[str, Any] = {
        "nodes_treeids": [0, 0, 0],
        "nodes_nodeids": [0, 1, 2],
        "nodes_featureids": [1, 0, 0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_values": [0.5, 0.0, 0.0],
        "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0],
        "target_treeids": [0, 0],
        "target_nodeids": [1, 2],
        "target_ids": [0, 0],
        "target_weights": [1.0, 2.0],
        "n_targets": 1,
    }
    node = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", **(lists | changes)
    )
    return model(nodes=[node])


def test_honest_tree_ensemble_is_accepted() -> None:
    assert isinstance(read_model(_trees(), "onnx"), OnnxModel)


@pytest.mark.parametrize(
    "changes",
    [
        {"nodes_truenodeids": [0, 0, 0]},
        {"nodes_falsenodeids": [99, 0, 0]},
        {"nodes_featureids": [-1, 0, 0]},
        {"nodes_nodeids": [0, 1, 7]},
        {"nodes_treeids": [0, 0]},
    ],
)
def test_bent_tree_ensemble_is_refused(changes: dict[str, list[int]]) -> None:
    assert refusal_of(_trees(**changes)).context["reason"] == "onnx"


def test_model_that_the_checker_refuses_is_refused() -> None:
    node = helper.make_node("NoSuchOperator", ["x"], ["y"])

    assert refusal_of(model(nodes=[node])).context["reason"] == "onnx"

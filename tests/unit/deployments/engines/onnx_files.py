"""ONNX files as converters of several libraries write them, made node by node."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper
from sklearn.linear_model import LogisticRegression

FLOAT, INT64, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING


def classifier(model: LogisticRegression, *, zip_map: bool, rows: int | None = None) -> bytes:
    """A LinearClassifier over one float table: a label, and probabilities as tensor or maps."""
    labels = model.classes_
    named = {"classlabels_strings": [str(label) for label in labels]}
    keyed: dict[str, Any] = named if labels.dtype.kind in "OU" else {"classlabels_ints": labels}
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["X"],
            ["label", "raw"],
            domain="ai.onnx.ml",
            coefficients=model.coef_.ravel().astype(float).tolist(),
            intercepts=model.intercept_.astype(float).tolist(),
            post_transform="SOFTMAX",
            multi_class=0,
            **keyed,
        )
    ]
    element = STRING if labels.dtype.kind in "OU" else INT64
    outputs = [helper.make_tensor_value_info("label", element, [rows])]
    if zip_map:
        key = "classlabels_strings" if element == STRING else "classlabels_int64s"
        values = named["classlabels_strings"] if element == STRING else labels.tolist()
        nodes.append(
            helper.make_node(
                "ZipMap", ["raw"], ["probability"], domain="ai.onnx.ml", **{key: values}
            )
        )
        kind = helper.make_map_type_proto(element, helper.make_tensor_type_proto(FLOAT, []))
        outputs.append(helper.make_value_info("probability", helper.make_sequence_type_proto(kind)))
    else:
        nodes.append(helper.make_node("Identity", ["raw"], ["probabilities"]))
        outputs.append(helper.make_tensor_value_info("probabilities", FLOAT, [rows, len(labels)]))
    width = model.coef_.shape[1]
    return _saved(nodes, [helper.make_tensor_value_info("X", FLOAT, [rows, width])], outputs)


def regressor(coefficients: Sequence[float], intercept: float) -> bytes:
    """A LinearRegressor over one float table, answering [rows, 1]."""
    node = helper.make_node(
        "LinearRegressor",
        ["X"],
        ["variable"],
        domain="ai.onnx.ml",
        coefficients=list(coefficients),
        intercepts=[intercept],
    )
    return _saved(
        [node],
        [helper.make_tensor_value_info("X", FLOAT, [None, len(coefficients)])],
        [helper.make_tensor_value_info("variable", FLOAT, [None, 1])],
    )


def columns() -> bytes:
    """One input a column: a float plus the length-coded category of a string."""
    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["city"],
            ["code"],
            domain="ai.onnx.ml",
            keys_strings=["Oslo", "Rome"],
            values_floats=[10.0, 20.0],
            default_float=-1.0,
        ),
        helper.make_node("Add", ["age", "code"], ["variable"]),
    ]
    inputs = [
        helper.make_tensor_value_info("age", FLOAT, [None, 1]),
        helper.make_tensor_value_info("city", STRING, [None, 1]),
    ]
    return _saved(nodes, inputs, [helper.make_tensor_value_info("variable", FLOAT, [None, 1])])


def trees_with_missing() -> bytes:
    """One stump whose missing values go left, as XGBoost's converter writes it."""
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["X"],
        ["variable"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0, 0, 0],
        nodes_nodeids=[0, 1, 2],
        nodes_featureids=[0, 0, 0],
        nodes_modes=["BRANCH_LT", "LEAF", "LEAF"],
        nodes_values=[0.5, 0.0, 0.0],
        nodes_truenodeids=[1, 0, 0],
        nodes_falsenodeids=[2, 0, 0],
        nodes_missing_value_tracks_true=[1, 0, 0],
        target_treeids=[0, 0],
        target_nodeids=[1, 2],
        target_ids=[0, 0],
        target_weights=[-1.0, 1.0],
    )
    return _saved(
        [node],
        [helper.make_tensor_value_info("X", FLOAT, [None, 2])],
        [helper.make_tensor_value_info("variable", FLOAT, [None, 1])],
    )


def image_model() -> bytes:
    """A graph that takes images, hence no table."""
    node = helper.make_node("Identity", ["X"], ["Y"])
    shape = [None, 3, 8, 8]
    return _saved(
        [node],
        [helper.make_tensor_value_info("X", FLOAT, shape)],
        [helper.make_tensor_value_info("Y", FLOAT, shape)],
    )


def _saved(nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any]) -> bytes:
    graph = helper.make_graph(list(nodes), "model", list(inputs), list(outputs))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    content = model.SerializeToString()
    assert isinstance(content, bytes)
    return content


def float32(rows: Any) -> Any:
    """The rows as a float32 graph sees them."""
    return np.asarray(rows, dtype=np.float32)

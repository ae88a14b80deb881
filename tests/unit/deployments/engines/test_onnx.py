"""ONNX files: signature from the graph, answers by ONNX Runtime."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from cluster.contracts import Batch, OutputSpec
from cluster.errors import PredictionFailed, UploadRefused
from deployments.engines.canary import canary_batch
from deployments.engines.choose import choose_engines
from deployments.engines.loaded import LoadedModel
from deployments.engines.onnx import OnnxModel
from deployments.signatures.derive import derive_signature
from deployments.signatures.instances import decode_instances
from tests.unit.deployments.engines import onnx_files

ROWS, LABELS = load_iris(return_X_y=True)
NAMES = np.array(["a", "b", "c"], dtype=object)[LABELS]


def fitted(labels: np.ndarray) -> LogisticRegression:
    return LogisticRegression(max_iter=1000).fit(ROWS, labels)


@pytest.mark.parametrize("zip_map", [True, False])
@pytest.mark.parametrize("labels", [LABELS, NAMES])
def test_a_classifier_answers_labels_and_probabilities(
    labels: np.ndarray,
    zip_map: bool,  # noqa: FBT001
) -> None:
    original = fitted(labels)
    model = OnnxModel(content=onnx_files.classifier(original, zip_map=zip_map))
    signature = derive_signature(model)
    batch = Batch(rows=len(ROWS), matrix=ROWS)

    loaded = LoadedModel.build(model, signature)

    assert signature.methods == ("predict", "predict_proba")
    assert signature.classes == tuple(original.classes_.tolist())
    assert signature.features[0].dtype == "float32"
    labelled, engine = loaded.run("predict", batch)
    assert (labelled.tolist(), engine) == (original.predict(ROWS).tolist(), "onnx")
    probabilities, _ = loaded.run("predict_proba", batch)
    np.testing.assert_allclose(probabilities, original.predict_proba(ROWS), atol=1e-5)


def test_a_graph_of_one_row_answers_many() -> None:
    original = fitted(LABELS)
    model = OnnxModel(content=onnx_files.classifier(original, zip_map=False, rows=1))
    signature = derive_signature(model)

    values, _ = LoadedModel.build(model, signature).run("predict", Batch(rows=150, matrix=ROWS))

    assert values.tolist() == original.predict(ROWS).tolist()


def test_a_regressor_answers_one_number_a_row() -> None:
    model = OnnxModel(content=onnx_files.regressor([2.0, -1.0], 0.5))
    signature = derive_signature(model)

    values, _ = LoadedModel.build(model, signature).run(
        "predict", Batch(rows=2, matrix=np.array([[1.0, 1.0], [0.0, 3.0]]))
    )

    assert signature.outputs == {"predict": OutputSpec(type="FP64", shape=(-1,))}
    assert values.tolist() == [1.5, -2.5]


def test_one_input_a_column_keeps_names_and_types() -> None:
    model = OnnxModel(content=onnx_files.columns())
    signature = derive_signature(model)

    batch = decode_instances(
        signature, [{"city": "Rome", "age": 2}, {"age": 1.5, "city": "Oslo"}], max_rows=9
    )
    values, _ = LoadedModel.build(model, signature).run("predict", batch)

    assert [(f.name, f.type) for f in signature.features] == [("age", "number"), ("city", "string")]
    assert values.tolist() == [22.0, 11.5]


def test_trees_that_track_missing_values_take_null() -> None:
    model = OnnxModel(content=onnx_files.trees_with_missing())
    signature = derive_signature(model)

    values, _ = LoadedModel.build(model, signature).run(
        "predict", Batch(rows=3, matrix=np.array([[0.0, 0.0], [1.0, 0.0], [np.nan, 0.0]]))
    )

    assert all(feature.nullable for feature in signature.features)
    assert values.tolist() == [-1.0, 1.0, -1.0]


def test_the_chosen_engine_is_onnx_with_its_cost() -> None:
    model = OnnxModel(content=onnx_files.regressor([1.0, 1.0], 0.0))
    signature = derive_signature(model)

    choice = choose_engines(model, signature, canary_batch(signature))

    assert choice.engines == {"predict": "onnx"}
    assert 0 < choice.cost_per_row_s["predict"] < 1


def test_a_number_beyond_float32_fails_naming_its_row() -> None:
    model = OnnxModel(content=onnx_files.regressor([1.0, 1.0], 0.0))
    loaded = LoadedModel.build(model, derive_signature(model))

    with pytest.raises(PredictionFailed) as failed:
        loaded.run("predict", Batch(rows=2, matrix=np.array([[1.0, 1.0], [1e300, 1.0]])))

    assert failed.value.context["row"] == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"not a graph", "onnx"), (onnx_files.image_model(), "features")],
)
def test_graphs_that_cannot_be_served_are_refused(content: bytes, reason: str) -> None:
    with pytest.raises(UploadRefused) as refused:
        derive_signature(OnnxModel(content=content))

    assert refused.value.context["reason"] == reason

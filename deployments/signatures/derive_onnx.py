"""The signature of an ONNX file: its inputs as features, its outputs as methods."""

from dataclasses import replace
from typing import Any

import numpy as np

from cluster.contracts import METHODS, Feature, Signature
from cluster.errors import PlatformError, UploadRefused
from deployments.engines.onnx import OnnxEngine, OnnxModel, open_session
from deployments.engines.onnx_roles import ELEMENTS, Port, columns_of, output_roles
from deployments.signatures.outputs import output_spec
from deployments.signatures.probing import typical_batch

_LABEL_ATTRIBUTES = ("classlabels_int64s", "classlabels_ints", "classlabels_strings")


def derive_onnx_signature(model: OnnxModel) -> Signature:
    """
    What the graph takes and gives; float32 inputs say so in their dtype.

    Raises:
        UploadRefused: ONNX Runtime cannot run it, or its inputs or outputs are no table's.
    """
    session = open_session(model)
    inputs = [Port.of(port) for port in session.get_inputs()]
    roles = output_roles([Port.of(port) for port in session.get_outputs()])
    graph = _graph(model)
    features = tuple(
        _feature(name, element, takes_missing=_takes_missing(graph))
        for name, element in columns_of(inputs)
    )
    numeric = all(feature.type != "string" for feature in features)
    signature = Signature(
        kind="table",
        container="matrix" if numeric else "objects",
        features=features,
        methods=tuple(method for method in METHODS if method in roles),
        outputs={},
        classes=_classes(graph),
        sklearn_version="",
    )
    return _with_outputs(model, signature)


def _feature(name: str, element: str, *, takes_missing: bool) -> Feature:
    dtype, kind = ELEMENTS[element]
    return Feature(name=name, type=kind, nullable=takes_missing and kind == "number", dtype=dtype)


def _with_outputs(model: OnnxModel, signature: Signature) -> Signature:
    engine = OnnxEngine(model, signature)
    row = typical_batch(signature)
    try:
        answers = {method: engine.run(method, row) for method in signature.methods}
    except PlatformError as exc:
        raise UploadRefused(
            "the ONNX graph fails on an ordinary row; check that it runs after export",
            gate="gate4",
            reason="canary",
            library_text=str(exc.context.get("library_text", exc)),
        ) from exc
    if not answers:
        raise UploadRefused(
            "the ONNX graph has no output that is a label, a number or a probability",
            gate="onnx",
            reason="no_method",
        )
    classes = signature.classes
    if classes is None and answers["predict"].dtype == np.int64 and "predict_proba" in answers:
        classes = tuple(range(answers["predict_proba"].shape[1]))
    outputs: dict[str, Any] = {name: output_spec(values) for name, values in answers.items()}
    return replace(signature, outputs=outputs, classes=classes)


def _graph(model: OnnxModel) -> Any:
    import onnx

    return onnx.load_model_from_string(model.content).graph


def _classes(graph: Any) -> tuple[Any, ...] | None:
    """Labels from the classifier's own attribute, in the order of its scores."""
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in _LABEL_ATTRIBUTES:
                texts = tuple(text.decode() for text in attribute.strings)
                labels = texts or tuple(int(label) for label in attribute.ints)
                if labels:
                    return labels
    return None


def _takes_missing(graph: Any) -> bool:
    """Whether a tree ensemble of the graph was given ways for missing values."""
    return any(
        attribute.name == "nodes_missing_value_tracks_true" and any(attribute.ints)
        for node in graph.node
        for attribute in node.attribute
    )

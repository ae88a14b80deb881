"""How a version describes itself to clients of the Open Inference Protocol."""

from cluster.contracts import Feature, JsonObject, OutputSpec, Signature
from serve_app.registry.resolution import ResolvedVersion

EXTENSIONS = ("binary_tensor_data", "model_configuration")
#: A client that sends one tensor for all columns may call it anything; this is what we call it.
ROWS_TENSOR = "input"
_DATATYPES = {
    "number": "FP64",
    "integer": "INT64",
    "boolean": "BOOL",
    "string": "BYTES",
    "datetime": "BYTES",
    "unknown": "BYTES",
}
_ROWS = -1


def model_metadata(resolved: ResolvedVersion) -> JsonObject:
    """The body of GET /v2/models/{model}."""
    signature = resolved.signature
    return {
        "name": resolved.model_name,
        "versions": [str(resolved.ref.version)],
        "platform": f"sklearn_{resolved.ref.format}",
        "inputs": _inputs(signature),
        "outputs": [
            {"name": method, "datatype": spec.type, "shape": list(spec.shape)}
            for method, spec in _outputs(signature)
        ],
    }


def model_config(resolved: ResolvedVersion, max_rows: int) -> JsonObject:
    """The body of GET …/config, as far as perf_analyzer reads it; shapes without the rows."""
    signature = resolved.signature
    return {
        "name": resolved.model_name,
        "platform": f"sklearn_{resolved.ref.format}",
        "backend": "sklearn",
        "max_batch_size": max_rows,
        "input": [
            _config(tensor["name"], tensor["datatype"], tensor["shape"])
            for tensor in _inputs(signature)
        ],
        "output": [
            _config(method, spec.type, list(spec.shape)) for method, spec in _outputs(signature)
        ],
    }


def _inputs(signature: Signature) -> list[JsonObject]:
    if signature.container == "matrix":
        shape = [_ROWS, len(signature.features)]
        return [{"name": ROWS_TENSOR, "datatype": "FP64", "shape": shape}]
    return [_input(feature) for feature in signature.features]


def _input(feature: Feature) -> JsonObject:
    return {"name": feature.name, "datatype": _DATATYPES[feature.type], "shape": [_ROWS]}


def _outputs(signature: Signature) -> list[tuple[str, OutputSpec]]:
    return [
        (method, signature.outputs[method])
        for method in signature.methods
        if method in signature.outputs
    ]


def _config(name: str, datatype: str, shape: list[int]) -> JsonObject:
    kind = "STRING" if datatype == "BYTES" else datatype
    # Triton has no empty dims: a scalar a row is [1].
    return {"name": name, "data_type": f"TYPE_{kind}", "dims": shape[1:] or [1]}

"""The OpenAPI description of the Open Inference Protocol's routes."""

from typing import Any

from serve_app.open_inference.tensors import DATATYPES

_Schema = dict[str, Any]
_STRING = {"type": "string"}
_SHAPE = {"type": "array", "items": {"type": "integer"}}
_PARAMETERS = {"type": "object", "additionalProperties": True}
_DATATYPE = {"type": "string", "enum": sorted(DATATYPES)}


def _object(required: list[str], **properties: _Schema) -> _Schema:
    return {"type": "object", "required": required, "properties": properties}


def _list(items: _Schema) -> _Schema:
    return {"type": "array", "items": items}


_TENSOR = _object(
    ["name", "shape", "datatype"],
    name=_STRING,
    shape=_SHAPE,
    datatype=_DATATYPE,
    parameters=_PARAMETERS,
    data={"type": "array", "description": "Row-major, nested or flat; absent in binary."},
)
_DESCRIPTION = _object(["name", "datatype", "shape"], name=_STRING, datatype=_STRING, shape=_SHAPE)
_INFER = _object(
    ["inputs"],
    id=_STRING,
    parameters=_PARAMETERS,
    inputs={**_list(_TENSOR), "minItems": 1},
    outputs=_list(_object(["name"], name=_STRING, parameters=_PARAMETERS)),
) | {
    "example": {
        "inputs": [
            {"name": "input", "shape": [1, 4], "datatype": "FP64", "data": [5.1, 3.5, 1.4, 0.2]}
        ]
    }
}
_INFERRED = _object(
    ["model_name", "outputs"],
    model_name=_STRING,
    model_version=_STRING,
    id=_STRING,
    outputs=_list(_TENSOR),
)
_HEALTH = _object(["live", "ready"], live={"type": "boolean"}, ready={"type": "boolean"})
_HEADER_LENGTH = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "required": False,
    "description": "Length of the JSON at the start of the body; raw tensors follow it.",
    "schema": {"type": "string", "pattern": "^0*[1-9][0-9]*$", "maxLength": 9},
}


def _path_parameter(name: str, description: str) -> _Schema:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", "minLength": 1},
    }


_MODEL = _path_parameter("model", "Name of a model of your own, or an id.")
_VERSION = _path_parameter("version", "Number or alias.")


def _get(summary: str, name: str, schema: _Schema, parameters: list[_Schema]) -> _Schema:
    content = {"application/json": {"schema": schema}}
    operation = {
        "tags": ["open inference protocol"],
        "summary": summary,
        "operationId": f"v2_{name}",
        "parameters": parameters,
        "responses": {"200": {"description": summary, "content": content}},
    }
    return {"get": operation}


def _infer(name: str, parameters: list[_Schema]) -> _Schema:
    operation: _Schema = _get("Predict", name, _INFERRED, [*parameters, _HEADER_LENGTH])["get"]
    operation["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": _INFER}},
    }
    return {"post": operation}


def _model_paths(prefix: str, name: str, parameters: list[_Schema]) -> _Schema:
    metadata = _object(
        ["name", "platform", "inputs", "outputs"],
        name=_STRING,
        versions=_list(_STRING),
        platform=_STRING,
        inputs=_list(_DESCRIPTION),
        outputs=_list(_DESCRIPTION),
    )
    ready = _object(["name", "ready"], name=_STRING, ready={"type": "boolean"})
    return {
        prefix: _get("Inputs and outputs", name, metadata, parameters),
        f"{prefix}/config": _get(
            "The same as Triton describes it", f"{name}_config", {"type": "object"}, parameters
        ),
        f"{prefix}/ready": _get("Whether it answers", f"{name}_ready", ready, parameters),
        f"{prefix}/infer": _infer(f"{name}_infer", parameters),
    }


_SERVER = _object(
    ["name", "version", "extensions"], name=_STRING, version=_STRING, extensions=_list(_STRING)
)
PATHS: _Schema = {
    "/v2": _get("The server and its extensions", "server", _SERVER, []),
    "/v2/health/live": _get("Liveness", "live", _HEALTH, []),
    "/v2/health/ready": _get("Whether predictions can be answered", "ready", _HEALTH, []),
    **_model_paths("/v2/models/{model}", "model", [_MODEL]),
    **_model_paths("/v2/models/{model}/versions/{version}", "version", [_MODEL, _VERSION]),
}

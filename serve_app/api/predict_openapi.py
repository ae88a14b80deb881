"""The OpenAPI description of the JSON prediction routes."""

from typing import Any

from cluster.contracts import METHODS

_METHOD = {"type": "string", "enum": list(METHODS), "default": "predict"}
_VERSION = {
    "type": ["integer", "null"],
    "minimum": 1,
    "description": "Absent or null: the alias production.",
}
_SCALAR = {"type": ["number", "string", "boolean", "null"]}
_ROW = {"type": "array", "items": _SCALAR, "minItems": 1}
_RECORD = {"type": "object", "additionalProperties": _SCALAR}
_TIMEOUT = {
    "name": "X-Timeout-Ms",
    "in": "header",
    "required": False,
    "description": "Lowers the deadline of this request; never raises it.",
    "schema": {"type": "string", "pattern": "^0*[1-9][0-9]*$", "maxLength": 9, "example": "5000"},
}
_MODEL = {
    "name": "model",
    "in": "path",
    "required": True,
    "description": "Name of a model of your own, or the id of one that you may see.",
    "schema": {"type": "string", "minLength": 1},
}
_ANSWER = {
    "type": "object",
    "required": ["predictions", "model", "version", "method"],
    "additionalProperties": False,
    "properties": {
        "predictions": {"type": "array", "description": "One entry a row."},
        "model": {"type": "string"},
        "version": {"type": "integer", "description": "The version that answered."},
        "method": _METHOD,
        "classes": {
            "type": "array",
            "description": "Labels in the order of the columns of predict_proba.",
        },
        "non_finite": {
            "type": "integer",
            "description": "Numbers of the answer that are null: NaN or infinite.",
        },
    },
}


def _operation(
    summary: str, operation_id: str, body: dict[str, Any], parameters: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "post": {
            "tags": ["predictions"],
            "summary": summary,
            "operationId": operation_id,
            "parameters": [*parameters, _TIMEOUT],
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": {
                "200": {
                    "description": "The predictions.",
                    "content": {"application/json": {"schema": _ANSWER}},
                }
            },
        }
    }


_BODY = {
    "type": "object",
    "required": ["instances"],
    "additionalProperties": False,
    "properties": {
        "instances": {
            "type": "array",
            "minItems": 1,
            "description": "Rows as lists, as records by column name, or documents of text.",
            "items": {"anyOf": [_ROW, _RECORD, {"type": "string"}]},
        },
        "method": _METHOD,
        "version": _VERSION,
    },
    "example": {"instances": [[5.1, 3.5, 1.4, 0.2]], "method": "predict"},
}
_OLDER_BODY = {
    "type": "object",
    "required": ["model_id", "input_data"],
    "additionalProperties": False,
    "properties": {
        "model_id": {"type": "string", "description": "Name or id."},
        "input_data": {
            "type": "array",
            "minItems": 1,
            "description": "One row, or a list of rows.",
            "items": {"anyOf": [_SCALAR, _ROW, _RECORD]},
        },
        "method": _METHOD,
        "version": _VERSION,
    },
    "example": {"model_id": "iris", "input_data": [5.1, 3.5, 1.4, 0.2]},
}
PATHS: dict[str, Any] = {
    "/api/v1/models/{model}/predict": _operation("Predict", "predict", _BODY, [_MODEL]),
    "/api/v1/predict": _operation("Predict, in the older shape", "predict_older", _OLDER_BODY, []),
}

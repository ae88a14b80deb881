"""POST …/predict in its two JSON shapes; see ``prediction_route`` for what stands around them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from cluster.contracts import Batch, JsonObject
from cluster.errors import Fault, InvalidInput, TooLarge
from deployments.signatures.answers import to_json
from deployments.signatures.instances import NO_BOUNDS, decode_instances
from deployments.signatures.storage import bounds_from_json, plain
from serve_app.api.plain_route import PlainRoute
from serve_app.api.predict_openapi import PATHS
from serve_app.api.prediction_json import (
    member_fault,
    parse_object,
    parse_strictly,
    refuse_unknown,
)
from serve_app.api.prediction_route import JSON_HEADERS, Answer, Asked, PredictionRoute
from serve_app.inference import Prediction
from serve_app.registry.resolution import ResolvedVersion

_MEMBERS = frozenset({"instances", "method", "version"})
_OLDER_MEMBERS = frozenset({"model_id", "input_data", "method", "version"})
#: Methods whose columns are classes.
_BY_CLASS = frozenset({"predict_proba", "decision_function"})
#: Numbers from which orjson writes an array quicker than we can list it.
_LARGE = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class _Call:
    """What a body of either shape asks for."""

    model: str
    #: JSON Pointer of the rows.
    path: str
    rows: Any
    method: str
    version: int | None


async def _predict(asked: Asked) -> Answer:
    document = await asked.off_loop(parse_object, asked.body)
    refuse_unknown(document, _MEMBERS)
    if "instances" not in document:
        raise member_fault("/instances", "missing_member", "is missing: a list of rows")
    return await _answer(asked, _call(document, asked.path_params["model"], "/instances"))


async def _predict_older(asked: Asked) -> Answer:
    document = await asked.off_loop(parse_object, asked.body)
    refuse_unknown(document, _OLDER_MEMBERS)
    model = document.get("model_id")
    if not isinstance(model, str):
        raise member_fault("/model_id", "wrong_type", "must be the name or id of a model")
    if "input_data" not in document:
        raise member_fault("/input_data", "missing_member", "is missing: a row or a list of rows")
    return await _answer(asked, _call(document, model, "/input_data"))


def _call(document: JsonObject, model: str, path: str) -> _Call:
    method = document.get("method", "predict")
    if not isinstance(method, str):
        raise member_fault("/method", "wrong_type", "must be the name of a method, such as predict")
    version = document.get("version")
    if version is not None and (type(version) is not int or version < 1):
        raise member_fault("/version", "wrong_type", "must be a version's number: 1 or more")
    return _Call(model=model, path=path, rows=document[path[1:]], method=method, version=version)


async def _answer(asked: Asked, call: _Call) -> Answer:
    prediction = await asked.services.inference.predict(
        asked.principal,
        call.model,
        call.version,
        call.method,
        decode=_decoder(asked, call),
        timeout_s=asked.timeout_s,
        is_large=asked.is_large,
    )
    encoder = partial(encode, max_bytes=asked.services.settings.max_response_size)
    return Answer(await asked.off_loop(encoder, prediction), JSON_HEADERS)


def _decoder(asked: Asked, call: _Call) -> Callable[[ResolvedVersion], Batch]:
    max_rows = asked.services.settings.max_rows

    def decode(resolved: ResolvedVersion) -> Batch:
        stored = resolved.feature_bounds
        bounds = bounds_from_json(stored) if stored else NO_BOUNDS
        is_one_row = call.path == "/input_data" and _is_flat(resolved, call.rows)

        def exact() -> object:
            rows = parse_strictly(asked.body)[call.path[1:]]
            return [rows] if is_one_row else rows

        try:
            return decode_instances(
                resolved.signature,
                [call.rows] if is_one_row else call.rows,
                bounds=bounds,
                max_rows=max_rows,
                path=call.path,
                reparse=exact,
            )
        except InvalidInput as error:
            raise _unwrapped(error) if is_one_row else error from None

    return decode


def _is_flat(resolved: ResolvedVersion, rows: object) -> bool:
    """Whether the older shape's ``input_data`` is one row rather than a list of rows."""
    if resolved.signature.kind == "text" or not isinstance(rows, list) or not rows:
        return False
    return not any(isinstance(row, list | dict) for row in rows)


def _unwrapped(error: InvalidInput) -> InvalidInput:
    """The error with pointers into the flat row that was sent, not the list around it."""
    faults = tuple(
        Fault(
            path=detail["path"].replace("/input_data/0", "/input_data", 1),
            code=detail["code"],
            message=detail["message"],
        )
        for detail in error.details
    )
    return InvalidInput(error.message, **{**error.context, "details": faults})


def encode(prediction: Prediction, max_bytes: int) -> bytes:
    """
    The JSON answer.

    Raises:
        TooLarge: It is larger than ``max_bytes``.
    """
    values = prediction.values
    # A number takes at least two bytes of JSON: what is refused here is never built.
    if 2 * values.size > max_bytes:
        raise _too_large(max_bytes)
    predictions, non_finite = _predictions(values)
    resolved, method = prediction.resolved, prediction.method
    answer: JsonObject = {
        "predictions": predictions,
        "model": resolved.model_name,
        "version": resolved.ref.version,
        "method": method,
    }
    if method in _BY_CLASS and resolved.signature.classes is not None:
        answer["classes"] = plain(resolved.signature.classes)
    if non_finite:
        answer["non_finite"] = non_finite
    body = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    if len(body) > max_bytes:
        raise _too_large(max_bytes)
    return body


def _predictions(values: NDArray[Any]) -> tuple[Any, int]:
    is_plain = values.dtype.kind in "fiub" and values.flags.c_contiguous
    if values.size < _LARGE or not is_plain or not np.isfinite(values).all():
        return to_json(values)
    return values, 0


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the answer would exceed {max_bytes} bytes: send fewer rows at a time")


by_path = PredictionRoute(_predict)
by_body = PredictionRoute(_predict_older)
routes = [
    PlainRoute("/api/v1/models/{model}/predict", by_path, methods=["POST"]),
    PlainRoute("/api/v1/predict", by_body, methods=["POST"]),
]


def openapi_paths() -> JsonObject:
    """What the OpenAPI document says of these routes, which FastAPI does not see."""
    return PATHS

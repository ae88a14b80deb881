"""The routes of the Open Inference Protocol v2, as its clients speak it."""

import asyncio
from collections.abc import Callable
from functools import partial

import orjson
from starlette.requests import Request
from starlette.responses import Response

from cluster.contracts import Batch, JsonObject
from cluster.errors import (
    Fault,
    InvalidInput,
    ModelQuarantined,
    PlatformError,
    ReplicaUnavailable,
)
from deployments.signatures.instances import NO_BOUNDS
from deployments.signatures.storage import bounds_from_json
from serve_app.api.open_inference_openapi import PATHS
from serve_app.api.plain_route import PlainRoute
from serve_app.api.prediction_route import JSON_HEADERS, Answer, Asked, PredictionRoute
from serve_app.inference import Prediction
from serve_app.open_inference.batches import decode_tensors
from serve_app.open_inference.metadata import EXTENSIONS, model_config, model_metadata
from serve_app.open_inference.requests import InferRequest, WantedOutput, parse_infer
from serve_app.open_inference.responses import encode_infer
from serve_app.registry.resolution import ResolvedVersion
from serve_app.services import Services

#: Predictors that do not answer for this long cannot be counted on.
READY_TIMEOUT_S = 2.0
_HEADER_LENGTH = b"inference-header-content-length"


async def _server(request: Request) -> Response:
    settings = _services(request).settings
    return _json(
        {"name": settings.app_name, "version": settings.version, "extensions": list(EXTENSIONS)}
    )


async def _live(_request: Request) -> Response:
    # Both members, since the specification's text, its schema and its clients disagree.
    return _json({"live": True, "ready": True})


async def _ready(request: Request) -> Response:
    services = _services(request)
    if services.is_draining:
        raise ReplicaUnavailable("this replica is being stopped: try again", retry_after_s=1)
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            await services.predictors.ping()
    except (TimeoutError, PlatformError) as error:
        raise ReplicaUnavailable("no predictor answers: try again", retry_after_s=1) from error
    return _json({"live": True, "ready": True})


async def _metadata(asked: Asked) -> Answer:
    return _answer(model_metadata(await _resolve(asked)))


async def _config(asked: Asked) -> Answer:
    return _answer(model_config(await _resolve(asked), asked.services.settings.max_rows))


async def _model_ready(asked: Asked) -> Answer:
    resolved = await _resolve(asked)
    if resolved.status == "quarantined":
        raise ModelQuarantined(f"version {resolved.ref.version} is held back", retry_after_s=60)
    return _answer({"name": resolved.model_name, "ready": True})


async def _infer(asked: Asked) -> Answer:
    header_length = asked.headers.get(_HEADER_LENGTH)
    request = await asked.off_loop(partial(parse_infer, header_length=header_length), asked.body)
    predictions = await _predict(asked, request)
    response = encode_infer(predictions, request.id, asked.services.settings.max_response_size)
    if response.header_length is None:
        return Answer(response.body, JSON_HEADERS)
    headers = [
        (b"content-type", b"application/octet-stream"),
        (_HEADER_LENGTH, b"%d" % response.header_length),
    ]
    return Answer(response.body, headers)


async def _predict(asked: Asked, request: InferRequest) -> list[tuple[Prediction, bool]]:
    """The predictions that were asked for, all of one version, each with its way to travel."""
    model, version = asked.path_params["model"], asked.path_params.get("version")
    decode = _decoder(asked, request)
    if not request.outputs:
        only = await _one(asked, model, version, None, decode)
        return [(only, request.is_binary)]
    first = await _one(asked, model, version, (0, request.outputs[0]), decode)
    # The alias may move meanwhile: the others are asked of the version that answered.
    ref = first.resolved.ref
    others = await asyncio.gather(
        *(
            _one(asked, ref.model_id, ref.version, (index, output), decode)
            for index, output in enumerate(request.outputs[1:], start=1)
        )
    )
    travels = [output.is_binary for output in request.outputs]
    return list(zip([first, *others], travels, strict=True))


async def _one(
    asked: Asked,
    model: str,
    version: str | int | None,
    wanted: tuple[int, WantedOutput] | None,
    decode: Callable[[ResolvedVersion], Batch],
) -> Prediction:
    try:
        return await asked.services.inference.predict(
            asked.principal,
            model,
            version,
            None if wanted is None else wanted[1].name,
            decode=decode,
            timeout_s=asked.timeout_s,
            is_large=asked.is_large,
        )
    except InvalidInput as error:
        if wanted is None or error.public_code != "unknown_method":
            raise
        path = f"/outputs/{wanted[0]}/name"
        fault = Fault(path=path, code=error.public_code, message=error.message)
        raise InvalidInput(error.message, code=error.public_code, details=(fault,)) from None


def _decoder(asked: Asked, request: InferRequest) -> Callable[[ResolvedVersion], Batch]:
    batch: Batch | None = None

    def decode(resolved: ResolvedVersion) -> Batch:
        nonlocal batch
        if batch is None:
            stored = resolved.feature_bounds
            batch = decode_tensors(
                resolved.signature,
                request.inputs,
                bounds=bounds_from_json(stored) if stored else NO_BOUNDS,
                max_rows=asked.services.settings.max_rows,
            )
        return batch

    return decode


async def _resolve(asked: Asked) -> ResolvedVersion:
    if not asked.principal.has("models:read"):
        asked.principal.require("predict")
    model, version = asked.path_params["model"], asked.path_params.get("version")
    return await asked.services.inference.resolve(asked.principal, model, version)


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def _answer(body: JsonObject) -> Answer:
    return Answer(orjson.dumps(body), JSON_HEADERS)


def _json(body: JsonObject) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")


infer = PredictionRoute(_infer, is_v2=True)


def _model_routes() -> list[PlainRoute]:
    reads = {
        "": PredictionRoute(_metadata, is_v2=True),
        "/config": PredictionRoute(_config, is_v2=True),
        "/ready": PredictionRoute(_model_ready, is_v2=True),
    }
    routes: list[PlainRoute] = []
    for prefix in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        routes.append(PlainRoute(f"{prefix}/infer", infer, methods=["POST"]))
        routes += [
            PlainRoute(prefix + path, endpoint, methods=["GET"]) for path, endpoint in reads.items()
        ]
    return routes


routes = [
    *_model_routes(),
    PlainRoute("/v2", _server, methods=["GET"]),
    PlainRoute("/v2/health/live", _live, methods=["GET"]),
    PlainRoute("/v2/health/ready", _ready, methods=["GET"]),
]


def openapi_paths() -> JsonObject:
    """What the OpenAPI document says of these routes, which FastAPI does not see."""
    return PATHS

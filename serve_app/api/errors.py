"""
The one table from error to HTTP status, and the body that every error has.

``{"error", "code", "request_id"[, "details"]}``; a caller never sees a traceback or a library's
text, except that development adds the name of an unexpected exception to ``details``.
"""

import logging
import math
from collections.abc import Mapping

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from cluster import errors, request_errors
from cluster.errors import PlatformError
from cluster.request_context import request_id_var
from serve_app.api.allowed_methods import allowed_methods
from serve_app.api.validation import validation_error

log = logging.getLogger(__name__)

STATUS: dict[type[BaseException], int] = {
    errors.PlatformError: 500,
    errors.InvalidInput: 422,
    request_errors.MalformedJson: 400,
    request_errors.MalformedMultipart: 400,
    request_errors.BadRequest: 400,
    errors.PredictionFailed: 422,
    errors.NonFiniteOutput: 422,
    errors.NotAuthenticated: 401,
    errors.NotPermitted: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    request_errors.IdempotencyKeyReused: 422,
    request_errors.MethodNotAllowed: 405,
    request_errors.UnsupportedMediaType: 415,
    errors.UploadRefused: 422,
    errors.TooLarge: 413,
    request_errors.HeadersTooLarge: 431,
    errors.RateLimited: 429,
    errors.QuotaExceeded: 429,
    errors.Overloaded: 503,
    errors.ModelLoading: 503,
    errors.ModelUnavailable: 503,
    errors.ReplicaUnavailable: 503,
    errors.ModelQuarantined: 503,
    errors.RegistryUnavailable: 503,
    errors.StorageFull: 507,
    errors.ArtifactCorrupt: 500,
    errors.DeadlineExceeded: 504,
    errors.InsecureSettings: 500,
    request_errors.HostRefused: 400,
}
#: The Open Inference Protocol answers 400 where /api answers 422.
V2_STATUS: dict[type[BaseException], int] = {
    errors.InvalidInput: 400,
    errors.PredictionFailed: 400,
}
#: Retry-After where the error does not know better, seconds.
RETRY_AFTER_S = {429: 60.0, 503: 1.0}
CHALLENGE = 'Bearer realm="slipway"'
INTERNAL_SENTENCE = "something failed on our side: try again, or report the request id"
#: Errors that Starlette, FastAPI or Serve make themselves, by status.
FOREIGN: dict[int, tuple[str, str]] = {
    400: ("bad_request", "the request cannot be understood: check its form"),
    401: ("not_authenticated", "sign in, or send an API key"),
    403: ("not_permitted", "this is not allowed"),
    404: ("not_found", "there is nothing at this path: see /docs"),
    405: ("method_not_allowed", "this path does not take this method: see the Allow header"),
    408: ("deadline_exceeded", "the deadline passed before the answer came"),
    413: ("too_large", "the body is larger than allowed"),
    415: ("unsupported_media_type", "send the body as application/json"),
    429: ("overloaded", "too many requests wait here: try again"),
    431: ("headers_too_large", "the headers are larger than allowed"),
    503: ("overloaded", "too many requests wait here: try again"),
    504: ("deadline_exceeded", "the deadline passed before the answer came"),
}


def status_of(error: BaseException, *, v2: bool = False) -> int:
    """HTTP status of an error, found through its class's MRO; 500 for what is not ours."""
    for cls in type(error).__mro__:
        if v2 and cls in V2_STATUS:
            return V2_STATUS[cls]
        if cls in STATUS:
            return STATUS[cls]
    return 500


def error_body(
    sentence: str, code: str, request_id: str, details: list[dict[str, str]] | None = None
) -> bytes:
    """The JSON body of an error."""
    body: dict[str, object] = {"error": sentence, "code": code, "request_id": request_id}
    if details:
        body["details"] = details
    return orjson.dumps(body)


def error_response(
    error: BaseException, request_id: str, *, v2: bool = False, show_details: bool = False
) -> Response:
    """
    The response for any error; usable outside FastAPI.

    Args:
        error: Ours, or an unexpected one, which is answered as ``internal``.
        request_id: Of the request.
        v2: Whether the path belongs to the Open Inference Protocol.
        show_details: Name what is unexpected: development alone.
    """
    status = status_of(error, v2=v2)
    sentence, code, details = INTERNAL_SENTENCE, "internal", []
    if isinstance(error, PlatformError) and status != 500:  # noqa: PLR2004 - the status itself
        sentence, code, details = error.message, error.public_code, error.details
    elif isinstance(error, PlatformError):
        code = error.public_code
    if show_details and status == 500:  # noqa: PLR2004 - the status itself
        details = [{"path": "", "code": type(error).__name__, "message": str(error)[:500]}]
    body = error_body(sentence, code, request_id, details)
    return _response(body, status, headers=_headers(status, error))


def foreign_response(
    status: int, request_id: str, *, headers: Mapping[str, str] | None = None
) -> Response:
    """The response in place of one that a framework or Serve made."""
    code, sentence = FOREIGN.get(status, ("internal", INTERNAL_SENTENCE))
    # Serve calls its own deadline 408, and may be told to call back-pressure 429: with us the
    # first is 504, and 429 is the caller's own limit alone.
    status = {408: 504, 429: 503}.get(status, status)
    merged = _headers(status, None) | dict(headers or {})
    return _response(error_body(sentence, code, request_id), status, headers=merged)


def install(app: FastAPI) -> None:
    """Make every error that leaves a route of ``app`` ours."""
    app.add_exception_handler(PlatformError, on_error)
    app.add_exception_handler(RequestValidationError, on_error)
    app.add_exception_handler(HTTPException, on_error)
    app.add_exception_handler(Exception, on_error)


async def on_error(request: Request, error: Exception) -> Response:
    """The response to what a route raised; what is ours to mend is logged."""
    request_id = request_id_var.get()
    v2 = is_v2(request.scope["path"])
    if isinstance(error, RequestValidationError):
        error = validation_error(error)
    elif isinstance(error, HTTPException):
        # FastAPI turns whatever reading the body raises into its own 400.
        if not isinstance(error.__cause__, PlatformError):
            return _on_http_exception(request, error, request_id)
        error = error.__cause__
    if status_of(error) == 500:  # noqa: PLR2004 - the status itself
        log.error("request failed", exc_info=error, extra={"path": request.scope["path"]})
    return error_response(error, request_id, v2=v2, show_details=_is_development(request))


def _on_http_exception(request: Request, error: HTTPException, request_id: str) -> Response:
    headers = dict(error.headers or {})
    if error.status_code == 405:  # noqa: PLR2004 - the status itself
        headers["Allow"] = allowed_methods(request.scope) or headers.get("Allow", "")
    return foreign_response(error.status_code, request_id, headers=headers)


def is_v2(path: str) -> bool:
    """Whether a path belongs to the Open Inference Protocol."""
    return path.startswith("/v2/") or path == "/v2"


def _is_development(request: Request) -> bool:
    services = getattr(request.app.state, "services", None)
    return services is not None and not services.settings.is_hardened


def _headers(status: int, error: BaseException | None) -> dict[str, str]:
    headers = {}
    retry_after_s = error.retry_after_s if isinstance(error, PlatformError) else None
    if retry_after_s is None:
        retry_after_s = RETRY_AFTER_S.get(status)
    if retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    if status == 401:  # noqa: PLR2004 - the status itself
        headers["WWW-Authenticate"] = CHALLENGE
    if status == 413:  # noqa: PLR2004 - the status itself
        # What is left of the body is not worth reading.
        headers["Connection"] = "close"
    extra = error.context.get("headers") if isinstance(error, PlatformError) else None
    if isinstance(extra, Mapping):
        headers.update({str(name): str(value) for name, value in extra.items()})
    return headers


def _response(body: bytes, status: int, *, headers: Mapping[str, str]) -> Response:
    return Response(body, status, headers=headers, media_type="application/json")

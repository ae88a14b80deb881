"""
The documentation page, its assets and the OpenAPI document: all from this process, no CDN.

Everything the page runs is a file under ``/static``, so its policy allows no inline script.
"""

from pathlib import Path
from typing import Any

import orjson
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from cluster.errors import NotFound
from cluster.settings import Settings

STATIC = Path(__file__).resolve().parent.parent / "static"
#: Swagger UI draws its icons as data URLs; what it styles from script goes through the object
#: model, which no policy on styles is asked about.
DOCS_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
#: Paths that anyone may call; every other one names both credentials.
OPEN_PATHS = (
    "/health",
    "/v2/health",
    "/api/v1/auth/register",
    "/api/v1/auth/login",
    "/api/v1/auth/refresh",
    "/api/v1/auth/logout",
)
SECURITY_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An access token from /api/v1/auth/login, or an API key.",
    },
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
ERROR_SCHEMA = {
    "type": "object",
    "required": ["error", "code", "request_id"],
    "properties": {
        "error": {"type": "string", "description": "A sentence for the caller."},
        "code": {"type": "string", "description": "Stable, snake_case."},
        "request_id": {"type": "string"},
        "details": {
            "type": "array",
            "maxItems": 20,
            "items": {
                "type": "object",
                "required": ["path", "code", "message"],
                "properties": {
                    "path": {"type": "string", "description": "JSON Pointer."},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
    },
}


router = APIRouter(include_in_schema=False)
_files = StaticFiles(directory=STATIC)


@router.api_route("/docs", methods=["GET", "HEAD"])
async def page(request: Request) -> FileResponse:
    """The documentation page."""
    _refuse_disabled(request)
    return FileResponse(
        STATIC / "docs.html",
        headers={"Content-Security-Policy": DOCS_POLICY, "Cache-Control": "no-cache"},
    )


@router.api_route("/openapi.json", methods=["GET", "HEAD"])
async def document(request: Request) -> Response:
    """The OpenAPI document."""
    _refuse_disabled(request)
    return Response(_encoded(request.app), media_type="application/json")


@router.api_route("/static/{path:path}", methods=["GET", "HEAD"])
async def static(path: str, request: Request) -> Response:
    """A file that the page needs."""
    return await _files.get_response(path, request.scope)


def complete(schema: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with both credentials and our error body in it."""
    components = schema.setdefault("components", {})
    components["securitySchemes"] = SECURITY_SCHEMES
    components.setdefault("schemas", {})["Error"] = ERROR_SCHEMA
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            _complete(path, operation)
    return schema


def _encoded(app: FastAPI) -> bytes:
    # Written once: a hundred kilobytes for anybody who asks, which is no work to do each time.
    body: bytes | None = getattr(app.state, "openapi_body", None)
    if body is None:
        body = app.state.openapi_body = orjson.dumps(app.openapi())
    return body


def _refuse_disabled(request: Request) -> None:
    settings: Settings = request.app.state.services.settings
    if settings.docs_enabled is False:
        raise NotFound("the documentation is switched off here")


def _complete(path: str, operation: dict[str, Any]) -> None:
    if not path.startswith(OPEN_PATHS) and path != "/v2":
        operation["security"] = [{"bearer": []}, {"apiKey": []}]
    responses = operation.setdefault("responses", {})
    # FastAPI describes its own 422 body, which our handlers never send.
    responses.pop("422", None)
    body = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses["4XX"] = {"description": "The caller can change something.", "content": body}
    responses["5XX"] = {"description": "Try again, or report the request id.", "content": body}

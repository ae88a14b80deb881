"""
The documentation page, its assets and the OpenAPI document: all from this process, no CDN.

Everything the page runs is a file under ``/static``, so its policy allows no inline script.
"""

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).resolve().parent.parent / "static"
#: Swagger UI draws its icons as data URLs and sets styles on elements from script.
DOCS_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
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


def install(app: FastAPI, *, is_enabled: bool) -> None:
    """Serve /static; and, where enabled, /docs and /openapi.json."""
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    if not is_enabled:
        return
    app.add_route("/docs", _docs, methods=["GET", "HEAD"], include_in_schema=False)
    app.add_route("/openapi.json", _openapi, methods=["GET", "HEAD"], include_in_schema=False)


async def _docs(_request: Request) -> FileResponse:
    return FileResponse(
        STATIC / "docs.html",
        headers={"Content-Security-Policy": DOCS_POLICY, "Cache-Control": "no-cache"},
    )


async def _openapi(request: Request) -> JSONResponse:
    return JSONResponse(openapi_document(request.app))


def openapi_document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the application, with both credentials and our error body."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        components = document.setdefault("components", {})
        components["securitySchemes"] = SECURITY_SCHEMES
        components.setdefault("schemas", {})["Error"] = ERROR_SCHEMA
        for path, operations in document["paths"].items():
            for operation in operations.values():
                _complete(path, operation)
        app.openapi_schema = document
    return app.openapi_schema


def _complete(path: str, operation: dict[str, Any]) -> None:
    if not path.startswith(OPEN_PATHS) and path != "/v2":
        operation["security"] = [{"bearer": []}, {"apiKey": []}]
    responses = operation["responses"]
    # FastAPI describes its own 422 body, which our handlers never send.
    responses.pop("422", None)
    body = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    responses["4XX"] = {"description": "The caller can change something.", "content": body}
    responses["5XX"] = {"description": "Try again, or report the request id.", "content": body}

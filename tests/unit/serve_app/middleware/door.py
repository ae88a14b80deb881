"""A small application behind the whole stack, and clients for it."""

from collections.abc import AsyncIterator

import httpx
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from cluster.settings import Settings
from serve_app.middleware.stack import middleware_stack

EDGE_TOKEN = "e" * 40


def settings(**changes: object) -> Settings:
    """Settings of development, but for ``changes``."""
    values: dict[str, object] = {"edge_token": SecretStr(EDGE_TOKEN), **changes}
    return Settings(_env_file=None, **values)  # type: ignore[arg-type]  # by name, in each test


def production(**changes: object) -> Settings:
    """Settings of production."""
    values: dict[str, object] = {
        "environment": "production",
        "allowed_hosts": ["api.example.org"],
        **changes,
    }
    return settings(**values)


async def echo(request: Request) -> Response:
    """Says what the application sees of a request."""
    return JSONResponse(
        {
            "client": request.client.host if request.client else None,
            "scheme": request.scope["scheme"],
            "headers": [
                [name.decode("latin-1"), value.decode("latin-1")]
                for name, value in request.scope["headers"]
            ],
            "body_bytes": len(await request.body()),
        }
    )


async def page(_request: Request) -> Response:
    return PlainTextResponse(
        "a page", headers={"Content-Security-Policy": "default-src 'none'", "X-Request-ID": "own"}
    )


async def fail(_request: Request) -> Response:
    raise RuntimeError("a secret detail")


async def plain_error(request: Request) -> Response:
    status = int(request.path_params["status"])
    return PlainTextResponse("Request dropped due to backpressure", status)


def application(made: Settings) -> Starlette:
    """The routes behind the stack."""
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    return Starlette(
        routes=[
            Route("/page", page),
            Route("/fail", fail),
            Route("/plain/{status}", plain_error),
            Route("/-/healthz", plain_error_at_serve),
            Route("/{path:path}", echo, methods=methods),
        ],
        middleware=middleware_stack(made),
    )


async def plain_error_at_serve(_request: Request) -> Response:
    return PlainTextResponse("draining", 503)


def client(
    made: Settings | None = None, *, base_url: str = "http://testserver"
) -> httpx.AsyncClient:
    """A client of the application under these settings."""
    return client_of(application(made or settings()), base_url=base_url)


def client_of(app: ASGIApp, *, base_url: str = "http://testserver") -> httpx.AsyncClient:
    """A client of any ASGI application."""
    transport = httpx.ASGITransport(app, client=("10.9.9.9", 1234))
    return httpx.AsyncClient(transport=transport, base_url=base_url)


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    """A body without a declared length."""
    for part in parts:
        yield part

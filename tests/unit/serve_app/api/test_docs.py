"""The documentation page as a browser under its own policy would load it."""

import re
from types import SimpleNamespace

import httpx
import orjson
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from cluster.errors import NotFound
from cluster.settings import Settings
from serve_app.api import docs

pytestmark = pytest.mark.anyio


def client_of(*, is_enabled: bool) -> httpx.AsyncClient:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, title="Slipway")

    @app.get("/api/v1/models")
    async def models() -> list[str]:
        return []

    @app.get("/health")
    async def health() -> list[str]:
        return []

    app.include_router(docs.router)
    app.openapi_schema = docs.complete(app.openapi())
    app.state.services = SimpleNamespace(settings=Settings(_env_file=None, docs_enabled=is_enabled))

    @app.exception_handler(NotFound)
    async def not_found(_request: Request, _error: Exception) -> JSONResponse:
        return JSONResponse({}, 404)

    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver")


async def test_every_asset_of_the_page_comes_from_here() -> None:
    async with client_of(is_enabled=True) as client:
        page = await client.get("/docs")
        assets = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
        answers = [await client.get(asset) for asset in assets]

    assert len(assets) == 3
    assert {answer.status_code for answer in answers} == {200}
    assert "http" not in page.text


async def test_the_page_runs_under_a_policy_without_anything_inline() -> None:
    async with client_of(is_enabled=True) as client:
        page = await client.get("/docs")

    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; img-src 'self' data:; object-src 'none'")
    assert "unsafe" not in policy
    assert re.findall(r"<script(?![^>]*src=)", page.text) == []
    assert re.findall(r"\s(?:on\w+|style)=|<style", page.text) == []


async def test_its_script_writes_no_styles_as_text() -> None:
    """Which the policy would refuse; styles that are set by property need no leave."""
    async with client_of(is_enabled=True) as client:
        script = (await client.get("/static/swagger-ui-bundle.js")).text

    assert re.findall(r"createElement\([\"']style[\"']|setAttribute\([\"']style[\"']", script) == []


async def test_the_document_names_credentials_where_they_are_needed() -> None:
    async with client_of(is_enabled=True) as client:
        document = (await client.get("/openapi.json")).json()

    assert document["paths"]["/api/v1/models"]["get"]["security"] == [
        {"bearer": []},
        {"apiKey": []},
    ]
    assert "security" not in document["paths"]["/health"]["get"]
    assert "Error" in document["components"]["schemas"]


async def test_the_document_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with client_of(is_enabled=True) as client:
        first = await client.get("/openapi.json")
        monkeypatch.setattr(orjson, "dumps", None)
        second = await client.get("/openapi.json")

    assert first.content == second.content
    assert second.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
async def test_switched_off_there_is_nothing(path: str) -> None:
    async with client_of(is_enabled=False) as client:
        assert (await client.get(path)).status_code == 404

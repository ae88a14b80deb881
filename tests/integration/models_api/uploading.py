"""Uploads as a test sends them, and what they leave behind."""

import httpx
from sqlalchemy import select

from serve_app.registry.tables import AuditEvent
from tests.integration.models_api.conftest import House, skops_file


async def upload(
    client: httpx.AsyncClient, name: str, content: bytes | None = None, **fields: str
) -> httpx.Response:
    files = {"file": ("m", skops_file() if content is None else content)}
    return await client.post("/api/v1/models", files=files, data={"name": name, **fields})


async def upload_version(
    client: httpx.AsyncClient, name: str, content: bytes, **fields: str
) -> httpx.Response:
    path = f"/api/v1/models/{name}/versions"
    return await client.post(path, files={"file": ("m", content)}, data=fields)


async def events(house: House, action: str) -> list[AuditEvent]:
    statement = select(AuditEvent).where(AuditEvent.action == action).order_by(AuditEvent.id)
    return await house.services.database.read(lambda s: list(s.scalars(statement)))


async def production(client: httpx.AsyncClient, name: str) -> int:
    number = (await client.get(f"/api/v1/models/{name}")).json()["production"]
    assert isinstance(number, int)
    return number

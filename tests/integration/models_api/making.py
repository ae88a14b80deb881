"""Users and models that a test of the HTTP API begins with."""

import uuid
from typing import Any

import httpx

from tests.integration.models_api.conftest import House, skops_file

MODELS = "/api/v1/models"


async def make(client: httpx.AsyncClient, name: str, versions: int = 1) -> dict[str, Any]:
    """A model with that many versions."""
    files = {"file": ("m", skops_file(f"{name} 1"))}
    answer = await client.post(MODELS, files=files, data={"name": name})
    assert answer.status_code == 201, answer.text
    for number in range(2, versions + 1):
        files = {"file": ("m", skops_file(f"{name} {number}"))}
        more = await client.post(f"{MODELS}/{name}/versions", files=files)
        assert more.status_code == 201, more.text
    body: dict[str, Any] = answer.json()
    return body


async def new_user(house: House, role: str = "publisher") -> httpx.AsyncClient:
    return await house.user(f"{uuid.uuid4().hex}@example.org", role)

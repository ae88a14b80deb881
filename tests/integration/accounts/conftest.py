"""The HTTP application over a real registry and a real Valkey, each test with keys of its own."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from cluster.settings import Settings
from serve_app.app import create_app
from serve_app.registry import users
from serve_app.registry.users import Account
from serve_app.services import Services, build_services
from tests.integration.models_api.conftest import NotingLoaders, NotingPredictors
from tests.integration.one_process import with_quick_passwords

PASSWORD = "correct horse battery"
EDGE_TOKEN = "e" * 40


@dataclass
class House:
    """The application and its users."""

    services: Services
    http: httpx.AsyncClient

    async def make_user(self, email: str | None = None, role: str = "member") -> Account:
        """A new account with ``PASSWORD``."""
        email = email or f"{uuid.uuid4().hex[:8]}@example.org"
        password_hash = await self.services.passwords.hash(PASSWORD)
        written = await self.services.database.write(
            partial(users.create_user, email=email, password_hash=password_hash, role=role)
        )
        return written.value

    async def login(self, account: Account) -> dict[str, Any]:
        """The answer to a login that must succeed."""
        sent = {"email": account.email, "password": PASSWORD}
        answer = await self.http.post("/api/v1/auth/login", json=sent)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def bearer(self, account: Account) -> dict[str, str]:
        """Headers of a new session."""
        return {"Authorization": f"Bearer {(await self.login(account))['access_token']}"}

    async def sign_in(self, role: str = "member") -> dict[str, str]:
        """Headers of a new user's session."""
        return await self.bearer(await self.make_user(role=role))

    async def make_key(self, headers: dict[str, str], **sent: object) -> dict[str, Any]:
        """The answer to a key that must be made."""
        body = {"name": uuid.uuid4().hex[:8], **sent}
        answer = await self.http.post("/api/v1/api-keys", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def status(self, headers: dict[str, str]) -> int:
        """What these credentials get from /me."""
        return (await self.http.get("/api/v1/auth/me", headers=headers)).status_code


@pytest.fixture
def settings(database_url: str, valkey_url: str, tmp_path: Path) -> Settings:
    """Settings that a test may replace by its own fixture of this name."""
    return Settings(
        _env_file=None,
        slipway_home=tmp_path,
        database_url=SecretStr(database_url),
        redis_url=SecretStr(valkey_url),
        redis_prefix=f"t{uuid.uuid4().hex[:8]}:",
        secret_key=SecretStr("k" * 40),
        edge_token=SecretStr(EDGE_TOKEN),
        default_rate_limit=1_000_000,
        login_rate_limit=50,
        workers=1,
    )


@pytest.fixture
async def house(settings: Settings) -> AsyncIterator[House]:
    services = build_services(
        settings,
        predictors=NotingPredictors(),
        loaders=NotingLoaders(),
        replica_id=f"test-{uuid.uuid4().hex[:8]}",
    )
    # Cheap hashes: how dear they are is tested for itself.
    services = with_quick_passwords(services, settings)
    app = create_app(services)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as http:
            yield House(services, http)

"""The application of production in one process, its model warm, and requests straight into it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson
from pydantic import SecretStr
from starlette.types import ASGIApp, Message, Scope

from cluster.settings import Settings
from deployments.loader import Loader
from deployments.predictor import Predictor
from serve_app.app import create_app
from serve_app.hot_routes import HotRoutes
from serve_app.local import LocalLoaders, LocalPredictors
from serve_app.middleware.outermost import Outermost
from serve_app.registry import keys, users
from serve_app.registry.database import Session
from serve_app.registry.keys import KeySpec
from serve_app.security.api_keys import make_key
from serve_app.security.principals import SCOPES, Principal
from serve_app.services import Services, build_services
from tests.benchmarks import models
from tests.system.client import as_bytes

HOST = "api.example.org"
BODY = orjson.dumps({"instances": [models.row(models.IRIS)]})


@dataclass(frozen=True, kw_only=True)
class House:
    """The application with its model warm, and a caller."""

    services: Services
    app: ASGIApp
    key: str
    principal: Principal

    async def answer(self, chain: ASGIApp) -> int:
        """The status of one prediction, asked as uvicorn asks."""
        body = BODY
        statuses: list[int] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await chain(self._scope(), receive, send)
        return statuses[0]

    def _scope(self) -> Scope:
        path = f"/api/v1/models/{models.IRIS}/predict"
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "https",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "client": ("127.0.0.1", 50_000),
            "server": (HOST, 443),
            "headers": [
                (b"host", HOST.encode()),
                (b"user-agent", b"python-httpx/0.28.1"),
                (b"accept", b"*/*"),
                (b"accept-encoding", b"gzip, deflate"),
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(BODY)),
                (b"x-api-key", self.key.encode()),
            ],
            "state": {},
        }


@asynccontextmanager
async def opened(home: Path, database_url: str, redis_url: str) -> AsyncIterator[House]:
    """The application of production, with a publisher's iris in its short path."""
    settings = Settings(
        _env_file=None,
        slipway_home=home,
        environment="production",
        allowed_hosts=[HOST],
        database_url=SecretStr(database_url),
        redis_url=SecretStr(redis_url),
        secret_key=SecretStr("k" * 48),
        # Above what one process can reach: the limit is checked and never hit.
        default_rate_limit=100_000_000,
    )
    with contextlib.closing(Loader(settings=settings)) as loader:
        services = build_services(
            settings,
            predictors=LocalPredictors(Predictor(loader, settings=settings)),
            loaders=LocalLoaders(loader),
            replica_id="bench",
        )
        app = create_app(services)
        async with app.router.lifespan_context(app):
            text, principal = await _caller(services)
            hot = HotRoutes(app, settings)
            house = House(services=services, app=hot, key=text, principal=principal)
            await _upload(app, text)
            await _warm(house)
            yield house


async def _caller(services: Services) -> tuple[str, Principal]:
    new = make_key()

    def make(session: Session) -> tuple[str, str]:
        account = users.create_user(
            session, email="bench@example.org", password_hash="x", role="publisher"
        )
        spec = KeySpec(name="bench", scopes=tuple(scope for scope in SCOPES if scope != "admin"))
        keys.create_key(session, account.id, spec, prefix=new.prefix, key_sha256=new.sha256)
        return account.id, account.email

    written = await services.database.write(make)
    await services.follower.settle(written.sequence)
    return new.text, await services.identities.identify(None, new.text)


async def _upload(app: ASGIApp, key: str) -> None:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=f"https://{HOST}") as http:
        answer = await http.post(
            "/api/v1/models",
            files={"file": ("model.skops", as_bytes(models.fitted(models.IRIS), "skops"))},
            data={"name": models.IRIS},
            headers={"X-API-Key": key},
        )
        answer.raise_for_status()


async def _warm(house: House) -> None:
    short_path = house.services.short_path
    if short_path is None:
        raise RuntimeError("the short path is switched off")
    chain = Outermost(house.app, settings=house.services.settings)
    while not short_path.size_bytes:
        await house.answer(chain)
        await asyncio.gather(*short_path.loading)

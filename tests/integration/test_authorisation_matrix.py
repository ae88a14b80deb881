"""Every route, asked by every kind of caller, answers as ``authorisation_table`` declares."""

import uuid
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from cluster.settings import Settings
from serve_app.app import create_app
from serve_app.hot_routes import HotRoutes
from serve_app.services import build_services
from tests.integration.authorisation import (
    CALLERS,
    World,
    ZeroPredictors,
    body_of,
    filled,
    make_account,
    make_callers,
    make_owner_key,
    make_subject,
    routes_of,
)
from tests.integration.authorisation_table import TABLE
from tests.integration.models_api.conftest import NotingLoaders
from tests.integration.one_process import with_quick_passwords

pytestmark = pytest.mark.anyio
#: These leave what they are about as it was.
HARMLESS = {"GET", "HEAD"}


@pytest.fixture(scope="module")
async def app_and_world(
    database_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[FastAPI, World]]:
    settings = Settings(
        _env_file=None,
        slipway_home=tmp_path_factory.mktemp("home"),
        database_url=SecretStr(database_url),
        redis_url=SecretStr(valkey_url),
        redis_prefix=f"t{uuid.uuid4().hex[:8]}:",
        secret_key=SecretStr("k" * 40),
        default_rate_limit=1_000_000,
        login_rate_limit=1_000_000,
        register_rate_limit=1_000_000,
        max_keys_per_user=1_000_000,
        max_models_per_user=1_000_000,
    )
    loaders = NotingLoaders()
    built = build_services(
        settings, predictors=ZeroPredictors(), loaders=loaders, replica_id="matrix"
    )
    services = with_quick_passwords(built, settings)
    app = create_app(services)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(HotRoutes(app, settings))
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as http:
            owner = await make_account(services, "publisher")
            here, elsewhere = [await make_subject(services, loaders, owner) for _ in range(2)]
            callers = await make_callers(services, http, owner, here.model, elsewhere.model)
            yield (
                app,
                World(
                    http=http,
                    services=services,
                    loaders=loaders,
                    owner=owner,
                    callers=callers,
                    fixed=here,
                ),
            )


@pytest.fixture(scope="module")
async def world(app_and_world: tuple[FastAPI, World]) -> World:
    return app_and_world[1]


async def test_every_route_has_a_row_and_every_row_a_route(
    app_and_world: tuple[FastAPI, World],
) -> None:
    # What answers GET answers HEAD alike, and is held to the same row.
    routes = {(method, path) for method, path in routes_of(app_and_world[0]) if method != "HEAD"}

    assert routes == set(TABLE)


@pytest.mark.parametrize(("method", "path"), TABLE, ids=[" ".join(each) for each in TABLE])
async def test_every_caller_gets_what_is_declared(method: str, path: str, world: World) -> None:
    found = {caller: await ask(world, method, path, caller) for caller in CALLERS}

    assert found == dict(zip(CALLERS, TABLE[method, path], strict=True))


async def test_what_answers_get_answers_head_alike(app_and_world: tuple[FastAPI, World]) -> None:
    app, world = app_and_world
    paths = {path for method, path in routes_of(app) if method == "HEAD"}
    assert len(paths) >= 10

    for path in sorted(paths):
        found = [await ask(world, "HEAD", path, caller) for caller in CALLERS]
        assert found == list(TABLE["GET", path]), path


def expected(method: str, path: str, caller: str) -> int:
    """The declared status of one cell."""
    return TABLE[method, path][CALLERS.index(caller)]


async def ask(world: World, method: str, path: str, caller: str) -> int:
    """The status that a caller gets for doing what the route is for."""
    is_harmless = method in HARMLESS or path.endswith(("/predict", "/infer"))
    # Who is to be sent away is shown what all others need: were it changed, they would fail.
    is_refused = not is_harmless and expected(method, path, caller) in {401, 403}
    is_fixed = is_harmless or is_refused
    subject = world.fixed if is_fixed else await world.fresh()
    headers = world.callers[caller]
    if caller == "tied_here" and not is_fixed:
        headers = {"X-API-Key": await make_owner_key(world.services, world.owner, subject.model)}
    answer = await world.http.request(
        method, filled(path, subject), headers=headers, **body_of(method, path, subject)
    )
    return answer.status_code


async def test_only_a_credential_with_an_admins_power_sees_what_is_behind(world: World) -> None:
    seen = {
        caller: "checks"
        in (await world.http.get("/health/detailed", headers=world.callers[caller])).json()
        for caller in CALLERS
    }

    assert {caller for caller, is_seen in seen.items() if is_seen} == {"admin", "admin_key"}

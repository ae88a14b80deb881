"""The whole application under ENVIRONMENT=production: hosts, schemes, and what stays closed."""

from collections.abc import AsyncIterator

import httpx
import pytest

from cluster.settings import Settings
from serve_app.hot_routes import HotRoutes
from tests.integration.accounts.conftest import EDGE_TOKEN, House

pytestmark = pytest.mark.anyio
HOST = "api.example.org"
EDGE = {"X-Slipway-Edge": EDGE_TOKEN, "X-Forwarded-Proto": "https"}
#: One of each kind: FastAPI's, plain ones, a short cut, the docs, and no route at all.
PATHS = [
    ("GET", "/api/v1/auth/me"),
    ("POST", "/api/v1/auth/login"),
    ("POST", "/api/v1/models/iris/predict"),
    ("POST", "/api/v1/predict"),
    ("GET", "/v2"),
    ("POST", "/v2/models/iris/infer"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/no/such/route"),
]
PROBES = ["/health", "/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(
        update={
            "environment": "production",
            "allowed_hosts": [HOST],
            "cors_origins": ["https://app.example.org"],
        }
    )


@pytest.fixture
async def http(house: House) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application as an Ingress serves it."""
    transport = house.http._transport
    assert isinstance(transport, httpx.ASGITransport)
    app = HotRoutes(transport.app, house.services.settings)  # type: ignore[arg-type]  # create_app's
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url=f"http://{HOST}"
    ) as client:
        yield client


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_another_host_is_refused(method: str, path: str, http: httpx.AsyncClient) -> None:
    answer = await http.request(method, path, headers=EDGE | {"Host": "evil.example"})

    assert (answer.status_code, answer.json()["code"]) == (400, "host_refused")


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_plain_http_is_redirected_with_its_method(
    method: str, path: str, http: httpx.AsyncClient
) -> None:
    answer = await http.request(method, f"{path}?a=1")

    assert answer.status_code == 308
    assert answer.headers["location"] == f"https://{HOST}{path}?a=1"


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_a_scheme_that_only_the_client_claims_changes_nothing(
    method: str, path: str, http: httpx.AsyncClient
) -> None:
    claims = {"X-Forwarded-Proto": "https", "X-Slipway-Edge": "e" * 39, "Forwarded": "proto=https"}

    answer = await http.request(method, path, headers=claims)

    assert answer.status_code == 308


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_behind_the_edge_it_is_answered(
    method: str, path: str, http: httpx.AsyncClient
) -> None:
    answer = await http.request(method, path, headers=EDGE)

    assert answer.status_code not in {308, 400} or answer.json()["code"] == "malformed_json"
    assert answer.headers["strict-transport-security"].startswith("max-age=")


@pytest.mark.parametrize("path", PROBES)
async def test_probes_are_answered_by_any_name_and_without_tls(
    path: str, http: httpx.AsyncClient
) -> None:
    answer = await http.get(path, headers={"Host": "10.0.0.7:8000"})

    assert answer.status_code == 200


async def test_a_credential_over_plain_http_is_not_even_read(
    house: House, http: httpx.AsyncClient
) -> None:
    answer = await http.get("/api/v1/auth/me", headers={"X-API-Key": "slp_whatever"})

    assert answer.status_code == 308
    assert "www-authenticate" not in answer.headers
    assert house.services.identities.find_cached(None, "slp_whatever") is None


async def test_strangers_cannot_register(http: httpx.AsyncClient) -> None:
    sent = {"email": "eve@example.org", "password": "correct horse battery"}

    answer = await http.post("/api/v1/auth/register", json=sent, headers=EDGE)

    assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:3000", "null"])
async def test_pages_of_other_origins_read_nothing(origin: str, http: httpx.AsyncClient) -> None:
    answer = await http.get("/v2", headers=EDGE | {"Origin": origin})

    assert "access-control-allow-origin" not in answer.headers


class TestWithoutDocs:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"docs_enabled": False})

    @pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
    async def test_docs_can_be_switched_off(self, path: str, http: httpx.AsyncClient) -> None:
        assert (await http.get(path, headers=EDGE)).status_code == 404

"""Which hosts are answered, which schemes redirected, which origins let in."""

import pytest

from serve_app.middleware.stack import middleware_stack
from serve_app.middleware.trusted_hosts import host_name
from tests.unit.serve_app.middleware.door import EDGE_TOKEN, client, production, settings

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("allowed", "host", "status"),
    [
        ("api.example.org", "api.example.org", 200),
        ("api.example.org", "API.Example.org:8443", 200),
        ("api.example.org", "api.example.org.", 200),
        ("api.example.org", "api.example.org.evil", 400),
        ("api.example.org", "evil-api.example.org", 400),
        ("api.example.org", "api.example.org@evil", 400),
        ("api.example.org", "", 400),
        ("*.example.org", "a.example.org", 200),
        ("*.example.org", "a.b.example.org", 200),
        ("*.example.org", "example.org", 400),
        ("*.example.org", "evilexample.org", 400),
        ("[::1]", "[::1]:8000", 200),
        ("127.0.0.1", "127.0.0.1:8000", 200),
        ("127.0.0.1", "127.0.0.1:8000:evil", 400),
    ],
)
async def test_hosts(allowed: str, host: str, status: int) -> None:
    async with client(settings(allowed_hosts=[allowed])) as http:
        answer = await http.get("/x", headers={"Host": host})

    assert answer.status_code == status
    if status == 400:
        assert answer.json()["code"] == "host_refused"
        assert "evil" not in answer.json()["error"]


@pytest.mark.parametrize(
    "path",
    ["/health", "/health/live", "/health/ready", "/health/detailed", "/v2/health/ready"],
)
async def test_probes_may_call_by_address_and_without_tls(path: str) -> None:
    async with client(production()) as http:
        answer = await http.get(path, headers={"Host": "10.0.0.7:8000"})

    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/healthy", "/health/../x", "/v2/healthy", "/api/health"])
async def test_no_other_path_is_a_probe(path: str) -> None:
    async with client(production()) as http:
        answer = await http.get(path, headers={"Host": "10.0.0.7:8000"})

    assert answer.status_code == 400


@pytest.mark.parametrize("host", ["a", "[::1]", "::1", "a:8000", "[::1]:8000", "A.:1"])
def test_a_host_is_reduced_to_its_name(host: str) -> None:
    expected = {"a": "a", "[::1]": "[::1]", "::1": "::1", "a:8000": "a", "[::1]:8000": "[::1]"}

    assert host_name(host) == expected.get(host, "a")


async def test_production_redirects_plain_http_and_keeps_the_method() -> None:
    async with client(production(), base_url="http://api.example.org") as http:
        answer = await http.post("/a b/ü?q=1&r=%20")

    assert answer.status_code == 308
    assert answer.headers["location"] == "https://api.example.org/a%20b/%C3%BC?q=1&r=%20"


async def test_behind_the_proven_edge_nothing_is_redirected() -> None:
    headers = {"X-Slipway-Edge": EDGE_TOKEN, "X-Forwarded-Proto": "https"}
    async with client(production(), base_url="http://api.example.org") as http:
        answer = await http.get("/x", headers=headers)

    assert answer.status_code == 200


async def test_a_scheme_that_a_client_claims_is_not_believed() -> None:
    async with client(production(), base_url="http://api.example.org") as http:
        answer = await http.get("/x", headers={"X-Forwarded-Proto": "https"})

    assert answer.status_code == 308


async def test_a_preflight_names_exactly_what_may_be_sent() -> None:
    origin = "https://app.example.org"
    async with client(production(cors_origins=[origin]), base_url="https://api.example.org") as h:
        answer = await h.options(
            "/x",
            headers={
                "Origin": origin,
                "Access-Control-Request-Method": "DELETE",
                "Access-Control-Request-Headers": "authorization,content-type,x-api-key",
            },
        )

    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-max-age"] == "3600"
    assert answer.headers["access-control-allow-methods"] == "GET, POST, PUT, PATCH, DELETE"
    allowed = {name.strip() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert {"Authorization", "Content-Type", "X-API-Key"} <= allowed
    assert "*" not in allowed


@pytest.mark.parametrize(
    ("origins", "origin"),
    [
        (["https://app.example.org"], "https://evil.example"),
        (["https://app.example.org"], "https://app.example.org.evil"),
        (["https://app.example.org"], "http://app.example.org"),
        (["https://app.example.org"], "null"),
        (["https://app.example.org"], "http://localhost:3000"),
        (["*"], "https://evil.example"),  # refused at start, and here again
    ],
)
async def test_another_origin_gets_no_leave(origins: list[str], origin: str) -> None:
    made = production(cors_origins=origins)
    async with client(made, base_url="https://api.example.org") as http:
        simple = await http.get("/x", headers={"Origin": origin})
        preflight = await http.options(
            "/x", headers={"Origin": origin, "Access-Control-Request-Method": "GET"}
        )

    assert "access-control-allow-origin" not in simple.headers
    assert preflight.status_code == 400
    assert preflight.json()["code"] == "bad_request"


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "http://127.0.0.1:5173", "http://[::1]:80"]
)
async def test_development_lets_local_pages_in(origin: str) -> None:
    async with client() as http:
        answer = await http.get("/x", headers={"Origin": origin})

    assert answer.headers["access-control-allow-origin"] == origin


def test_the_order_of_the_stack_can_be_read() -> None:
    def name(item: object) -> str:
        return str(getattr(getattr(item, "cls", None), "__name__", ""))

    assert [name(item) for item in middleware_stack(production())] == [
        "Outermost",
        "UnexpectedErrors",
        "TrustedHosts",
        "HttpsRedirect",
        "RateLimitHeaders",
        "CORSMiddleware",
        "BodyLimit",
    ]

"""What every response carries and no request may: ids, headers, steering, the edge's word."""

import re

import pytest
from starlette.middleware import Middleware
from starlette.types import Receive, Scope, Send

from serve_app.middleware import outermost
from tests.unit.serve_app.middleware.door import (
    EDGE_TOKEN,
    application,
    client,
    client_of,
    production,
    settings,
)

pytestmark = pytest.mark.anyio
BY_EDGE = {"X-Slipway-Edge": EDGE_TOKEN, "X-Forwarded-Proto": "https"}


async def test_a_request_without_an_id_gets_one() -> None:
    async with client() as http:
        answers = [await http.get("/x") for _ in range(2)]

    ids = [answer.headers["X-Request-ID"] for answer in answers]
    assert all(re.fullmatch(r"[0-9a-f]{32}", request_id) for request_id in ids)
    assert ids[0] != ids[1]


async def test_an_acceptable_id_is_kept_and_sent_once() -> None:
    async with client() as http:
        answer = await http.get("/x", headers={"X-Request-ID": "a.B-c_9"})

    assert answer.headers.get_list("x-request-id") == ["a.B-c_9"]


@pytest.mark.parametrize(
    "presented", ["", "a b", "a\tb", "<script>", "a" * 129, "é", "a,b", "${jndi:ldap://x}"]
)
async def test_another_id_is_replaced(presented: str) -> None:
    async with client() as http:
        answer = await http.get("/x", headers=[(b"x-request-id", presented.encode())])

    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])


async def test_two_ids_are_none() -> None:
    async with client() as http:
        answer = await http.get("/x", headers=[("X-Request-ID", "a"), ("X-Request-ID", "b")])

    assert answer.headers.get_list("x-request-id")[0] not in {"a", "b"}


async def test_an_id_that_a_route_sets_is_not_sent_beside_ours() -> None:
    async with client() as http:
        answer = await http.get("/page", headers={"X-Request-ID": "mine"})

    assert answer.headers.get_list("x-request-id") == ["mine"]


@pytest.mark.parametrize(
    "name",
    [
        "x-request-timeout-seconds",
        "x-request-disconnect-disabled",
        "serve_multiplexed_model_id",
        "serve-multiplexed-model-id",
        "Serve-Multiplexed_Model-Id",
        "x-session-id",
        "X_Session_Id",
        "x-slipway-edge",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "forwarded",
        "x-real-ip",
    ],
)
async def test_headers_that_steer_or_pretend_do_not_get_in(name: str) -> None:
    async with client() as http:
        seen = (await http.get("/x", headers={name: "1"})).json()["headers"]

    assert name.lower() not in [header for header, _ in seen]


async def test_every_kind_of_response_has_the_security_headers() -> None:
    expected = {
        "x-frame-options": "DENY",
        "x-content-type-options": "nosniff",
        "x-xss-protection": "1; mode=block",
        "referrer-policy": "strict-origin-when-cross-origin",
        "strict-transport-security": "max-age=31536000; includeSubDomains",
    }
    async with client(production(), base_url="https://api.example.org") as http:
        answers = [
            await http.get("/x"),
            await http.get("/fail"),
            await http.get("/plain/404"),
            await http.get("/x", headers={"Host": "evil.example"}),
            await http.get("http://api.example.org/x"),
            await http.get("/x", headers=[("Authorization", "a"), ("Authorization", "b")]),
        ]

    assert [answer.status_code for answer in answers] == [200, 500, 404, 400, 308, 400]
    for answer in answers:
        assert expected.items() <= dict(answer.headers).items()
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")


async def test_transport_security_is_for_production() -> None:
    async with client() as http:
        answer = await http.get("/x")

    assert "strict-transport-security" not in answer.headers


async def test_a_page_may_have_a_policy_of_its_own() -> None:
    async with client() as http:
        answer = await http.get("/page")

    assert answer.headers.get_list("content-security-policy") == ["default-src 'none'"]


@pytest.mark.parametrize(
    ("status", "expected", "code"),
    [
        (404, 404, "not_found"),
        (408, 504, "deadline_exceeded"),  # Serve's own deadline
        (429, 503, "overloaded"),  # 429 is the caller's own limit alone
        (500, 500, "internal"),
        (503, 503, "overloaded"),  # Serve's back-pressure
    ],
)
async def test_an_error_that_is_not_ours_leaves_with_our_body(
    status: int, expected: int, code: str
) -> None:
    async with client() as http:
        answer = await http.get(f"/plain/{status}", headers={"X-Request-ID": "r-1"})

    assert answer.status_code == expected
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "error": answer.json()["error"],
        "code": code,
        "request_id": "r-1",
    }
    assert "backpressure" not in answer.text
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert ("retry-after" in answer.headers) is (expected == 503)


async def test_serves_own_health_is_left_alone() -> None:
    async with client() as http:
        answer = await http.get("/-/healthz")

    assert (answer.status_code, answer.text) == (503, "draining")


async def test_production_says_nothing_of_an_unexpected_error() -> None:
    async with client(production(), base_url="https://api.example.org") as http:
        answer = await http.get("/fail")

    assert answer.json()["code"] == "internal"
    assert "details" not in answer.json()
    assert "secret" not in answer.text


async def test_development_names_it() -> None:
    async with client() as http:
        answer = await http.get("/fail")

    assert answer.json()["details"] == [
        {"path": "", "code": "RuntimeError", "message": "a secret detail"}
    ]


async def test_the_proven_edge_is_believed() -> None:
    async with client() as http:
        headers = {**BY_EDGE, "X-Forwarded-For": "203.0.113.7"}
        seen = (await http.get("/x", headers=headers)).json()

    assert (seen["client"], seen["scheme"]) == ("203.0.113.7", "https")


@pytest.mark.parametrize(
    "proof",
    [
        None,
        "",
        EDGE_TOKEN[:-1],
        EDGE_TOKEN + "e",
        EDGE_TOKEN.upper(),
        "é",
    ],
)
async def test_without_its_secret_nobody_is_the_edge(proof: str | None) -> None:
    headers = [(b"x-forwarded-for", b"203.0.113.7"), (b"x-forwarded-proto", b"https")]
    if proof is not None:
        headers.append((b"x-slipway-edge", proof.encode()))
    async with client() as http:
        seen = (await http.get("/x", headers=headers)).json()

    assert (seen["client"], seen["scheme"]) == ("10.9.9.9", "http")


async def test_where_no_edge_is_set_up_an_empty_proof_is_none() -> None:
    headers = {"X-Slipway-Edge": "", "X-Forwarded-For": "203.0.113.7"}
    async with client(settings(edge_token=None)) as http:
        seen = (await http.get("/x", headers=headers)).json()

    assert seen["client"] == "10.9.9.9"


@pytest.mark.parametrize(
    ("hops", "forwarded", "client_address"),
    [
        (0, "203.0.113.7", "203.0.113.7"),
        (0, "6.6.6.6, 203.0.113.7", "203.0.113.7"),  # what a client wrote stands first
        (1, "6.6.6.6, 203.0.113.7, 192.0.2.1", "203.0.113.7"),  # a load balancer before the edge
        (2, "203.0.113.7", "203.0.113.7"),  # fewer than expected: the first
        (0, "2001:db8::7", "2001:db8::7"),
        (0, "[2001:db8::7]", "2001:db8::7"),
        (0, "unknown", "10.9.9.9"),
        (0, "", "10.9.9.9"),
    ],
)
async def test_whose_address_it_is(hops: int, forwarded: str, client_address: str) -> None:
    async with client(settings(trusted_proxy_hops=hops)) as http:
        headers = {**BY_EDGE, "X-Forwarded-For": forwarded}
        seen = (await http.get("/x", headers=headers)).json()

    assert seen["client"] == client_address


async def test_an_address_that_the_server_took_from_the_header_is_not_believed() -> None:
    """uvicorn believes X-Forwarded-For from loopback, and marks what it took by port 0."""
    app = application(settings())

    async def as_uvicorn(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "client": ("6.6.6.6", 0), "scheme": "https"}, receive, send)

    async with client_of(as_uvicorn) as http:
        headers = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https"}
        seen = (await http.get("/x", headers=headers)).json()

    assert (seen["client"], seen["scheme"]) == ("127.0.0.1", "http")


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "host", "content-type"])
async def test_a_header_that_counts_may_be_sent_once(name: str) -> None:
    async with client() as http:
        answer = await http.get("/x", headers=[(name, "a"), (name, "b")])

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    "headers",
    [
        [(f"x-{n}", "y") for n in range(101)],
        [("x-long", "y" * 33_000)],
    ],
)
async def test_a_flood_of_headers_is_refused(headers: list[tuple[str, str]]) -> None:
    async with client() as http:
        answer = await http.get("/x", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (431, "headers_too_large")


async def test_a_request_that_passed_under_serve_is_not_judged_again() -> None:
    """Under Serve the class runs twice: around Serve, and in our own stack."""
    app = application(settings())
    outer = outermost.Outermost(app, settings=settings())

    async with client_of(outer) as http:
        headers = {**BY_EDGE, "X-Forwarded-For": "203.0.113.7", "X-Request-ID": "r-1"}
        answer = await http.get("/x", headers=headers)

    assert (answer.json()["client"], answer.json()["scheme"]) == ("203.0.113.7", "https")
    assert answer.headers.get_list("x-request-id") == ["r-1"]
    assert len(answer.headers.get_list("x-frame-options")) == 1


def test_serve_is_given_a_list_of_middlewares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENV_FILE", "")
    given = outermost.middleware()

    assert [type(item) for item in given] == [Middleware]
    assert getattr(given[0].cls, "__name__", "") == "Outermost"

"""TLS, redirect, proof of origin, bounds and error bodies of the edge, by a real nginx."""

import json
import ssl
from collections.abc import Iterator

import httpx
import pytest

from cluster.edge_errors import HEADERS, HSTS
from serve_app.middleware.security_headers import SecurityHeaders
from tests.integration.edge.conftest import BOUND
from tests.integration.edge.nginx import HOST, TOKEN, Edge
from tests.system.platform import wait_until
from tests.unit.serve_app.middleware.door import production

pytestmark = pytest.mark.nginx


@pytest.fixture
def client(edge: Edge) -> Iterator[httpx.Client]:
    with edge.client() as made:
        yield made


def seen(answer: httpx.Response) -> dict[str, list[str]]:
    """Headers that the application saw."""
    found: dict[str, list[str]] = {}
    for name, value in answer.json()["headers"]:
        found.setdefault(name, []).append(value)
    return found


def assert_our_error(answer: httpx.Response, status: int, code: str) -> None:
    body = answer.json()

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert set(body) == {"error", "code", "request_id"}
    assert body["code"] == code
    assert body["request_id"] == answer.headers["x-request-id"]
    for name, value in HEADERS.items():
        assert answer.headers.get_list(name) == [value], name


def test_plain_http_is_redirected_with_its_method(edge: Edge) -> None:
    with edge.plain_client() as client:
        answer = client.post("/api/v1/models?limit=2", json={})

    assert answer.status_code == 308
    assert answer.headers["location"] == f"https://{HOST}/api/v1/models?limit=2"


def test_a_foreign_host_is_redirected_nowhere(edge: Edge) -> None:
    with edge.plain_client() as client:
        answer = client.get("/", headers={"Host": "evil.example"})

    assert_our_error(answer, 400, "host_refused")


def test_probes_pass_without_tls(edge: Edge) -> None:
    with edge.plain_client() as client:
        answer = client.get("/health/live", headers={"Host": "10.0.0.1"})

    assert answer.status_code == 200
    assert answer.json()["scheme"] == "http"


def test_hsts_is_sent_once_on_every_kind_of_answer(client: httpx.Client) -> None:
    answers = [client.get("/page"), client.get("/-/routes"), client.get("/fail")]

    assert [answer.headers.get_list("strict-transport-security") for answer in answers] == [
        [HSTS]
    ] * 3


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_tls_is_refused(edge: Edge, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # OpenSSL itself would not offer these otherwise.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version

    with pytest.raises((ssl.SSLError, ConnectionError)), edge.connection_with(context):
        pass


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_current_tls_has_forward_secrecy(edge: Edge, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=str(edge.certificate))
    context.minimum_version = context.maximum_version = version

    with edge.connection_with(context) as connection:
        cipher = connection.cipher()

    assert cipher is not None
    assert cipher[0].startswith(("ECDHE-", "TLS_"))
    assert "GCM" in cipher[0] or "CHACHA20" in cipher[0]


@pytest.mark.parametrize(
    "cipher", ["ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "ECDHE-ECDSA-AES128-CCM8"]
)
def test_weak_ciphers_are_refused(edge: Edge, cipher: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{cipher}:@SECLEVEL=0")

    with pytest.raises(ssl.SSLError), edge.connection_with(context):
        pass


def test_forged_origin_is_overwritten(client: httpx.Client) -> None:
    forged = {
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Proto": "http",
        "X-Real-IP": "6.6.6.6",
        "Forwarded": "for=6.6.6.6",
        "X-Slipway-Edge": "f" * 40,
    }

    answer = client.get("/anything", headers=forged)

    assert answer.json()["client"] == "127.0.0.1"
    assert answer.json()["scheme"] == "https"
    assert "6.6.6.6" not in answer.text
    assert TOKEN not in answer.text


def test_steering_headers_do_not_pass(client: httpx.Client) -> None:
    steering = {
        "X-Request-Timeout-Seconds": "0",
        "X-Request-Disconnect-Disabled": "?1",
        "serve_multiplexed_model_id": "x",
        "Serve-Multiplexed-Model-Id": "x",
        "X-Session-Id": "x",
        "x_forwarded_for": "6.6.6.6",
        "Proxy": "http://6.6.6.6",
    }

    found = seen(client.get("/anything", headers=steering))

    assert not {name.lower().replace("_", "-") for name in steering} & {
        name.replace("_", "-") for name in found
    }


@pytest.mark.parametrize(
    ("given", "is_kept"), [("abc-1.2_X", True), ("a b", False), ("x" * 129, False)]
)
def test_request_id_is_kept_where_harmless(
    client: httpx.Client, given: str, *, is_kept: bool
) -> None:
    answer = client.get("/-/routes", headers={"X-Request-ID": given})
    passed = client.get("/anything", headers={"X-Request-ID": given})

    assert (answer.headers["x-request-id"] == given) is is_kept
    assert seen(passed)["x-request-id"] == [passed.headers["x-request-id"]]
    assert (passed.headers["x-request-id"] == given) is is_kept


@pytest.mark.parametrize(
    "path", ["/-/routes", "/-/healthz", "//-/routes", "/%2d/routes", "/a/../-/routes", "/-/"]
)
def test_pages_of_serve_are_shut(edge: Edge, path: str) -> None:
    answer = edge.exchange(
        f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
    )

    assert_our_error(answer, 404, "not_found")


@pytest.mark.parametrize(
    ("path", "bound"),
    [
        ("/api/v1/models/iris/predict", BOUND),
        ("/api/v1/auth/login", BOUND),
        ("/v2/models/iris/infer", 4 * BOUND),
        ("/v2/models/iris/versions/1/infer", 4 * BOUND),
        ("/api/v1/models", 8 * BOUND),
        ("/api/v1/models/iris/versions", 8 * BOUND),
    ],
)
@pytest.mark.parametrize("is_chunked", [False, True])
def test_each_route_has_its_bound(
    client: httpx.Client, path: str, bound: int, *, is_chunked: bool
) -> None:
    body = b"x" * (bound + 1)
    content = iter([body[:1000], body[1000:]]) if is_chunked else body

    refused = client.post(path, content=content)

    assert_our_error(refused, 413, "too_large")
    assert f"larger than {bound} bytes" in refused.json()["error"]


def test_a_body_at_the_bound_passes(client: httpx.Client) -> None:
    answer = client.post("/api/v1/models/iris/predict", content=b"x" * BOUND)

    assert answer.json()["body_bytes"] == BOUND


@pytest.mark.parametrize(
    ("request_line", "headers", "status", "code"),
    [
        ("GET /" + "x" * 9000 + " HTTP/1.1", "", 414, "headers_too_large"),
        ("GET / HTTP/1.1", "X-A: " + "x" * 9000 + "\r\n", 431, "headers_too_large"),
        ("GET / HTTP/1.1", "X-A: b\r\n" * 6000, 431, "headers_too_large"),
        ("GET  HTTP/1.1 x", "", 400, "bad_request"),
        ("TRACE / HTTP/1.1", "", 405, "method_not_allowed"),
        ("CONNECT 127.0.0.1:8265 HTTP/1.1", "", 400, "bad_request"),
        ("POST / HTTP/1.1", "Transfer-Encoding: gzip\r\n", 400, "bad_request"),
    ],
)
def test_what_the_edge_refuses_has_our_body(
    edge: Edge, request_line: str, headers: str, status: int, code: str
) -> None:
    head = f"{request_line}\r\nHost: {HOST}\r\n{headers}Connection: close\r\n\r\n"

    answer = edge.exchange(head.encode())

    assert_our_error(answer, status, code)


def test_plain_http_on_the_port_of_tls_is_told_so(edge: Edge) -> None:
    answer = httpx.get(
        f"http://127.0.0.1:{edge.https_port}/", headers={"Host": HOST}, trust_env=False
    )

    assert_our_error(answer, 400, "bad_request")


def test_errors_of_the_application_pass_whole(client: httpx.Client) -> None:
    answer = client.post("/api/v1/predict", headers={"Content-Encoding": "br"}, content=b"x")

    assert answer.status_code == 415
    assert "Content-Encoding 'br'" in answer.json()["error"]


def test_the_edge_speaks_with_the_headers_of_the_application() -> None:
    own = SecurityHeaders(production()).complete([], also_replaced=b"x")
    expected = {name.decode(): value.decode() for name, value in own}

    assert {name.lower(): value for name, value in HEADERS.items()} | {
        "strict-transport-security": HSTS
    } == expected


def test_every_request_leaves_one_json_line(client: httpx.Client, edge: Edge) -> None:
    answer = client.get("/anything", params={"token": "secret"}, headers={"X-Request-ID": "line-1"})
    wait_until(lambda: '"line-1"' in edge.log.read_text(), what="the log's line", timeout_s=10)
    lines = [json.loads(line) for line in edge.log.read_text().splitlines()]
    (line,) = [each for each in lines if each["request_id"] == "line-1"]

    assert answer.is_success
    assert (line["status"], line["method"], line["path"]) == ("200", "GET", "/anything")
    assert line["ms"].isdigit()

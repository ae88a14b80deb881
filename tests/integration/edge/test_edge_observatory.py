"""The whole application behind the edge, graded as the Mozilla Observatory would."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from cluster.settings import Settings
from serve_app.app import create_app
from serve_app.services import build_services
from tests.integration.edge.nginx import HOST, TOKEN, Edge, running
from tests.integration.edge.observatory import FOREIGN_ORIGIN, Page, grade
from tests.integration.edge.upstreams import uvicorn_server
from tests.integration.models_api.conftest import NotingLoaders, NotingPredictors

pytestmark = pytest.mark.nginx


@pytest.fixture(scope="module")
def edge(
    database_url: str, valkey_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Edge]:
    """An edge before the application of production."""
    home: Path = tmp_path_factory.mktemp("home")
    settings = Settings(
        _env_file=None,
        slipway_home=home,
        environment="production",
        database_url=SecretStr(database_url),
        redis_url=SecretStr(valkey_url),
        secret_key=SecretStr("k" * 48),
        edge_token=SecretStr(TOKEN),
        allowed_hosts=[HOST],
        cors_origins=["https://app.example.org"],
    )
    services = build_services(
        settings, predictors=NotingPredictors(), loaders=NotingLoaders(), replica_id="edge"
    )
    with (
        uvicorn_server(create_app(services)) as door,
        running(
            tmp_path_factory.mktemp("edge"), door, first_replica_port=door, replica_ports=1
        ) as made,
    ):
        yield made


def graded(edge: Edge, path: str, **sent: Any) -> tuple[httpx.Response, Page]:
    """An answer, and the page that the Observatory would see there."""
    with edge.client() as client, edge.plain_client() as plain:
        answer = client.request("POST" if sent else "GET", path, **sent)
        foreign = client.get(path, headers={"Origin": FOREIGN_ORIGIN})
        led = plain.get(path)
    route = [f"http://{HOST}{path}"]
    if led.is_redirect:
        route.append(led.headers["location"])
    page = Page(
        url=f"https://{HOST}{path}",
        headers=dict(answer.headers),
        cookies=tuple(answer.headers.get_list("set-cookie")),
        body=answer.text,
        foreign_headers=dict(foreign.headers),
        route=tuple(route),
    )
    return answer, page


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 404),
        ("/docs", 200),
        ("/openapi.json", 200),
        ("/static/docs.js", 200),
        ("/health", 200),
        ("/api/v1/models", 401),
        ("/nothing", 404),
        # Made by the edge itself.
        ("/-/routes", 404),
    ],
)
def test_every_page_scores_over_a_hundred(edge: Edge, path: str, status: int) -> None:
    answer, page = graded(edge, path)

    score, verdicts = grade(page)

    assert answer.status_code == status
    assert [verdict for verdict, modifier in verdicts.items() if modifier < 0] == []
    assert verdicts["csp-implemented-with-no-unsafe"] == 5
    assert score >= 120


def test_a_413_scores_over_a_hundred(edge: Edge) -> None:
    answer, page = graded(edge, "/api/v1/predict", content=b"x" * (17 * 1024 * 1024))

    assert answer.status_code == 413
    assert grade(page)[0] >= 120


GOOD = {
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'",
    "strict-transport-security": "max-age=31536000",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "content-type": "text/html",
}


def page_with(
    changes: dict[str, str] | None = None,
    *,
    route: tuple[str, ...] = (f"http://{HOST}/", f"https://{HOST}/"),
    foreign: dict[str, str] | None = None,
    cookies: tuple[str, ...] = (),
    body: str = "",
) -> Page:
    return Page(
        url=f"https://{HOST}/",
        headers=GOOD | (changes or {}),
        foreign_headers=foreign or {},
        route=route,
        cookies=cookies,
        body=body,
    )


CSP = "content-security-policy"
HTML = '<script src="{src}"{more}></script>'
ELSEWHERE = "https://cdn.example/x.js"
INTEGRITY = ' integrity="sha256-x"'
WILDCARD = {"access-control-allow-origin": "*"}
ECHOED = {
    "access-control-allow-origin": FOREIGN_ORIGIN,
    "access-control-allow-credentials": "true",
}


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        # As good as 115: policy, referrer and frames add 5 each.
        (page_with(), 115),
        (page_with({CSP: ""}), 75),
        (page_with({CSP: "default-src 'self'; default-src 'none'"}), 75),
        (page_with({CSP: "default-src 'self'; script-src 'unsafe-inline'"}), 80),
        (page_with({CSP: "default-src 'self'; script-src 'self' data:"}), 80),
        (page_with({CSP: "script-src 'self'"}), 80),  # any object
        (page_with({CSP: "default-src 'self' http://a.example"}), 80),
        # At 90 the bonuses still count.
        (page_with({CSP: "default-src 'self'; style-src 'unsafe-eval'"}), 90 + 10),
        (page_with({CSP: "default-src 'self'; img-src http://a.example"}), 90 + 10),
        (page_with({CSP: "default-src 'self'; style-src 'unsafe-inline'"}), 110),
        (page_with({CSP: "default-src 'none'"}), 120),
        (page_with({CSP: "default-src 'self'; script-src 'unsafe-inline' 'nonce-x'"}), 115),
        (page_with({CSP: "default-src 'self'; script-src 'strict-dynamic'"}), 75),
        (page_with({"strict-transport-security": "max-age=100"}), 90 + 15),
        (page_with({"strict-transport-security": ""}), 80),
        (page_with({"strict-transport-security": "includeSubDomains"}), 80),
        (page_with({"x-content-type-options": ""}), 95 + 15),
        (page_with({"x-frame-options": "", CSP: "default-src 'self'"}), 80),
        (page_with({"x-frame-options": "ALLOW-FROM x", CSP: "default-src 'self'"}), 110),
        (page_with({"referrer-policy": ""}), 110),
        (page_with({"referrer-policy": "unsafe-url"}), 95 + 10),
        (page_with({"referrer-policy": "never"}), 95 + 10),
        (page_with({"cross-origin-opener-policy": "same-origin"}), 125),
        (page_with({"cross-origin-embedder-policy": "require-corp"}), 125),
        (page_with({"cross-origin-resource-policy": "same-site"}), 125),
        (page_with({"cross-origin-resource-policy": "mine"}), 95 + 15),
        (page_with(route=()), 115),
        (page_with(route=(f"http://{HOST}/",)), 80),
        (page_with(route=(f"http://{HOST}/", f"http://{HOST}/a")), 80),
        (page_with(route=(f"http://{HOST}/", f"http://{HOST}/a", f"https://{HOST}/")), 90 + 15),
        (page_with(route=(f"http://{HOST}/", "https://www.example/")), 95 + 15),
        (page_with(foreign=WILDCARD), 115),
        (page_with(foreign=ECHOED), 50),
        (page_with(cookies=("a=b; Secure; SameSite=Lax",)), 120),
        (page_with(cookies=("a=b",)), 95 + 15),  # but HSTS
        (page_with({"strict-transport-security": ""}, cookies=("a=b",)), 60),
        (page_with(cookies=("session=b; Secure",)), 70),
        (page_with(cookies=("session=b; HttpOnly",)), 90 + 15),
        (page_with(cookies=("csrf=b; Secure",)), 80),
        (page_with(cookies=("a=b; Secure; SameSite=maybe",)), 80),
        (page_with(body=HTML.format(src="/a.js", more="")), 115),
        (page_with(body=HTML.format(src="/a.js", more=INTEGRITY)), 120),
        (page_with(body=HTML.format(src=ELSEWHERE, more="")), 95 + 15),
        (page_with(body=HTML.format(src=ELSEWHERE, more=INTEGRITY)), 120),
        (page_with(body=HTML.format(src="http://a.example/x.js", more="")), 50),
    ],
)
def test_the_grading_gives_and_takes_points(page: Page, expected: int) -> None:
    """So that the scores above mean something."""
    assert grade(page)[0] == expected

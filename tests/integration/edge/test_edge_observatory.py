"""The whole application behind the edge, graded as the Mozilla Observatory would."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from cluster.settings import Settings
from serve_app.app import create_app
from serve_app.services import build_services
from tests.integration.edge.nginx import HOST, TOKEN, Edge, running
from tests.integration.edge.observatory import Page, grade
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


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 404),
        ("/docs", 200),
        ("/openapi.json", 200),
        ("/health", 200),
        ("/api/v1/models", 401),
        ("/nothing", 404),
        # Made by the edge itself.
        ("/-/routes", 404),
    ],
)
def test_every_page_scores_a_hundred(edge: Edge, path: str, status: int) -> None:
    with edge.client() as client, edge.plain_client() as plain:
        answer = client.get(path)
        led = plain.get(path)
    page = Page(
        url=f"https://{HOST}{path}",
        headers=dict(answer.headers),
        cookies=tuple(answer.headers.get_list("set-cookie")),
        body=answer.text,
        redirects=(led.headers["location"],) if led.is_redirect else (),
    )

    score, results = grade(page)

    assert answer.status_code == status
    assert [result for result in results if result.modifier < 0] == []
    assert score >= 100


def test_a_413_scores_a_hundred(edge: Edge) -> None:
    with edge.client() as client:
        answer = client.post("/api/v1/predict", content=b"x" * (17 * 1024 * 1024))

    assert answer.status_code == 413
    assert grade(_page(dict(answer.headers)))[0] >= 100


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"content-security-policy": ""}, 75),
        ({"content-security-policy": "default-src 'self'; script-src 'unsafe-inline'"}, 80),
        # At 90 the bonuses of policy, referrer and frames still count.
        ({"strict-transport-security": "max-age=100"}, 90 + 15),
        ({"x-content-type-options": ""}, 95 + 15),
        ({"x-frame-options": "", "content-security-policy": "default-src 'self'"}, 80),
    ],
)
def test_the_grading_takes_points_off(changes: dict[str, str], expected: int) -> None:
    """So that a hundred above means something."""
    good = {
        "content-security-policy": "default-src 'self'; frame-ancestors 'none'",
        "strict-transport-security": "max-age=31536000",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
    }

    assert grade(_page(good))[0] == 115
    assert grade(_page(good | changes))[0] == expected


def _page(headers: dict[str, str]) -> Page:
    return Page(
        url=f"https://{HOST}/",
        headers=headers,
        cookies=(),
        body="",
        redirects=(f"https://{HOST}/",),
    )

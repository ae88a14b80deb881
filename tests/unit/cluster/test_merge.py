"""Deploying beside others: they are carried over, or the deploy is refused by name."""

from typing import Any

import pytest

from cluster.merge import merged
from cluster.serve_api import DeployFailed

OURS: dict[str, Any] = {"name": "slipway", "route_prefix": "/", "import_path": "a:b"}
CONFIG: dict[str, Any] = {"http_options": {"port": 8000}, "applications": [OURS]}


def other(**changed: object) -> dict[str, Any]:
    deployed = {"name": "other", "route_prefix": "/other", "import_path": "c:d"}
    return {
        "route_prefix": "/other",
        "source": "declarative",
        "deployed_app_config": deployed,
        **changed,
    }


def test_an_empty_instance_gets_our_file_as_it_is() -> None:
    assert merged(CONFIG, {"applications": {}}) == CONFIG


def test_another_application_is_carried_over() -> None:
    found = other()
    result = merged(CONFIG, {"applications": {"other": found}, "http_options": {"port": 9}})

    assert result["applications"] == [found["deployed_app_config"], OURS]


def test_options_fixed_at_serves_start_are_kept() -> None:
    result = merged(CONFIG, {"applications": {"other": other()}, "http_options": {"port": 9}})

    assert result["http_options"] == {"port": 9}


def test_our_earlier_deployment_is_replaced() -> None:
    before = other(route_prefix="/", deployed_app_config={**OURS, "import_path": "old:one"})

    assert merged(CONFIG, {"applications": {"slipway": before}})["applications"] == [OURS]


def test_an_application_that_would_be_deleted_is_named() -> None:
    with pytest.raises(DeployFailed, match="would delete other,"):
        merged(CONFIG, {"applications": {"other": other(deployed_app_config=None)}})


def test_an_application_of_serve_run_is_left_alone() -> None:
    found = other(source="imperative", deployed_app_config=None)

    assert merged(CONFIG, {"applications": {"other": found}})["applications"] == [OURS]


def test_a_taken_route_is_refused_with_its_holder() -> None:
    with pytest.raises(DeployFailed, match="route / belongs to other"):
        merged(CONFIG, {"applications": {"other": other(route_prefix="/")}})

"""serve_config.yaml: what is shipped fits two cores, and what `slipway up` renders into it."""

from pathlib import Path
from typing import Any

import pytest

from cluster.deploy_args import DeployArgs
from cluster.serve_config import ConfigUnusable, own_application, read_config, rendered
from cluster.settings import Settings

SHIPPED = Path(__file__).parents[3] / "serve_config.yaml"
#: The smallest machine that the shipped file is made for.
CORES = 2


def shipped() -> dict[str, Any]:
    return read_config(SHIPPED)


def deployments(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in own_application(config)["deployments"]}


def most_replicas(deployment: dict[str, Any]) -> int:
    autoscaling = deployment.get("autoscaling_config", {})
    return int(autoscaling.get("max_replicas", deployment.get("num_replicas", 1)))


def settings(**given: object) -> Settings:
    return Settings(_env_file=None, **given)  # type: ignore[arg-type]  # by field


def test_two_generations_of_every_replica_fit_the_cores() -> None:
    shares = [
        most_replicas(each) * each["ray_actor_options"]["num_cpus"]
        for each in deployments(shipped()).values()
    ]

    assert 2 * sum(shares) <= CORES + 1e-9


@pytest.mark.parametrize("name", ["Ingress", "Loader", "Predictor"])
def test_every_deployment_is_bounded_and_surges(name: str) -> None:
    deployment = deployments(shipped())[name]

    assert deployment["max_surge_percent"] == 100
    assert deployment["max_queued_requests"] > 0
    assert deployment["max_ongoing_requests"] > 0
    assert deployment["health_check_timeout_s"] <= 5


def test_the_predictors_lanes_are_what_serve_lets_in() -> None:
    config = shipped()
    args = DeployArgs.model_validate(own_application(config)["args"])

    assert deployments(config)["Predictor"]["max_ongoing_requests"] == args.predictor_lanes


def test_no_request_outlives_a_graceful_shutdown() -> None:
    config = shipped()
    deadline_s = settings().request_timeout_s

    assert config["http_options"]["request_timeout_s"] >= deadline_s
    for deployment in deployments(config).values():
        assert deployment["graceful_shutdown_timeout_s"] >= deadline_s + 5


def test_serve_is_on_loopback() -> None:
    assert shipped()["http_options"]["host"] == "127.0.0.1"


def test_rendering_puts_host_port_and_workers_in() -> None:
    config = rendered(shipped(), settings(host="127.0.0.2", port=9000, workers=3))

    assert config["http_options"]["host"] == "127.0.0.2"
    assert config["http_options"]["port"] == 9000
    assert deployments(config)["Ingress"]["autoscaling_config"]["min_replicas"] == 3


def test_more_workers_than_the_most_raise_the_most() -> None:
    config = rendered(shipped(), settings(workers=9))

    assert deployments(config)["Ingress"]["autoscaling_config"]["max_replicas"] == 9


def test_rendering_leaves_what_it_was_given() -> None:
    config = shipped()
    rendered(config, settings(port=9000))

    assert config == shipped()


@pytest.mark.parametrize(
    "content",
    [
        "",  # nothing
        "applications: [{name: other}]",  # somebody else's
        "a: [",  # no YAML
        "applications: 3",  # no list
        "[]",  # no mapping
    ],
)
def test_a_file_without_our_application_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "serve_config.yaml"
    path.write_text(content)

    with pytest.raises(ConfigUnusable):
        read_config(path)

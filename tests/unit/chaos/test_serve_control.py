"""Another count of replicas changes bounds and nothing else."""

from cluster.serve_config import own_application, read_config
from tests.chaos.serve_control import SCALED, _with_count
from tests.system.platform import REPOSITORY


def test_only_the_bounds_of_what_is_scaled_change() -> None:
    config = read_config(REPOSITORY / "serve_config.yaml")

    scaled = _with_count(config, 3)

    before, after = (
        {each["name"]: each for each in own_application(one)["deployments"]}
        for one in (config, scaled)
    )
    bounds = {"min_replicas": 3, "max_replicas": 3}
    assert after == {
        name: each
        | ({"autoscaling_config": each["autoscaling_config"] | bounds} if name in SCALED else {})
        for name, each in before.items()
    }
    assert before["Ingress"]["autoscaling_config"]["min_replicas"] == 2

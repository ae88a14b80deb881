"""
Our application put beside what a Serve instance runs already.

A plain ``serve deploy`` makes its file the whole truth and deletes every other application that
was deployed that way; here those are carried over, or the deploy is refused.
"""

import copy
from typing import Any

from cluster.serve_api import DeployFailed
from cluster.serve_config import APPLICATION, dict_of, own_application


def merged(config: dict[str, Any], instance: dict[str, Any]) -> dict[str, Any]:
    """
    What to deploy so that nothing else changes.

    Args:
        config: The content of our serve_config.yaml.
        instance: What Serve says of itself.

    Returns:
        A config with every running application of the others in it.

    Raises:
        DeployFailed: Naming the applications that could not be kept, or that hold our route.
    """
    ours = own_application(config)
    others = {
        name: dict_of(details)
        for name, details in instance.get("applications", {}).items()
        if name != APPLICATION
    }
    _refuse_conflict(ours, others)
    kept = {
        name: details.get("deployed_app_config")
        for name, details in others.items()
        # Applications made by serve.run are not touched by a deploy.
        if details.get("source") != "imperative"
    }
    lost = sorted(name for name, deployed in kept.items() if deployed is None)
    if lost:
        raise DeployFailed(
            f"deploying would delete {', '.join(lost)}, whose configuration Serve does not tell: "
            "deploy one serve_config.yaml that holds them all"
        )
    result = copy.deepcopy(config)
    result["applications"] = [*(dict_of(deployed) for deployed in kept.values()), ours]
    for option in ("proxy_location", "http_options", "grpc_options"):
        # Fixed when Serve starts; other values would be refused or ignored.
        if others and instance.get(option) is not None:
            result[option] = instance[option]
    return result


def _refuse_conflict(ours: dict[str, Any], others: dict[str, dict[str, Any]]) -> None:
    route = ours.get("route_prefix", "/")
    holders = sorted(name for name, details in others.items() if details["route_prefix"] == route)
    if holders:
        raise DeployFailed(
            f"route {route} belongs to {', '.join(holders)}: "
            "give that application another route_prefix"
        )

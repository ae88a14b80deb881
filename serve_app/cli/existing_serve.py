"""A Serve instance that somebody else started: deploy into it without deleting what it runs."""

from collections.abc import Mapping
from typing import Any

from cluster.addresses import dashboard_url
from cluster.merge import merged
from cluster.ray_environment import application_environment
from cluster.secrets import HandedSecrets, read_token
from cluster.serve_api import ApplicationStatus, ServeApi
from cluster.serve_config import APPLICATION, own_application
from cluster.settings import Settings

DEPLOY_TIMEOUT_S = 240.0


def deploy(
    config: dict[str, Any],
    settings: Settings,
    secrets: HandedSecrets,
    address: str | None,
    environment: Mapping[str, str],
) -> ApplicationStatus:
    """
    Deploy and wait.

    Raises:
        DeployFailed: With Serve's reason, or the applications that stand in the way.
    """
    url = address or environment.get("RAY_DASHBOARD_ADDRESS") or dashboard_url(settings)
    token = environment.get("RAY_AUTH_TOKEN") or read_token(secrets.ray_token)
    api = ServeApi(url, token)
    # That cluster was started without our environment: file names, no secret, travel along.
    environment_of_replicas = application_environment(settings, secrets, environment)
    application = own_application(config)
    runtime_env = application.setdefault("runtime_env", {})
    runtime_env["env_vars"] = {**environment_of_replicas, **runtime_env.get("env_vars", {})}
    api.deploy(merged(config, api.instance()))
    api.await_running(APPLICATION, DEPLOY_TIMEOUT_S)
    return api.applications()[APPLICATION]

"""serve_config.yaml as data: read it, and render what ``slipway up`` decides into it."""

import copy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from cluster.errors import PlatformError
from cluster.settings import Settings

APPLICATION = "slipway"
INGRESS = "Ingress"
FILE_NAME = "serve_config.yaml"


class ConfigUnusable(PlatformError):
    """serve_config.yaml is missing or not what this program can deploy."""

    code = "config_unusable"


def find_config() -> Path:
    """
    serve_config.yaml in the working directory, else beside the installed packages.

    Raises:
        ConfigUnusable: If there is none.
    """
    candidates = [Path(FILE_NAME)]
    spec = find_spec("cluster")
    if spec is not None and spec.origin is not None:
        candidates.append(Path(spec.origin).parent.parent / FILE_NAME)
    for candidate in candidates:
        if candidate.is_file():
            return candidate.absolute()
    raise ConfigUnusable(f"{FILE_NAME} is not here: run from the project's directory or name it")


def read_config(path: Path) -> dict[str, Any]:
    """
    The file's content.

    Raises:
        ConfigUnusable: If it is no YAML mapping with our application in it.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigUnusable(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("applications"), list):
        raise ConfigUnusable(f"{path} has no list of applications")
    own_application(config)
    return config


def rendered(
    config: dict[str, Any], settings: Settings, *, import_path: str | None = None
) -> dict[str, Any]:
    """The config with HOST, PORT, WORKERS and, if given, another import path put into it."""
    result = copy.deepcopy(config)
    result["http_options"] = {
        **result.get("http_options", {}),
        "host": settings.host,
        "port": settings.port,
    }
    application = own_application(result)
    if import_path is not None:
        application["import_path"] = import_path
    for deployment in application.get("deployments", []):
        if deployment["name"] == INGRESS:
            _scale(deployment, settings.workers)
    return result


def own_application(config: dict[str, Any]) -> dict[str, Any]:
    """Our entry among the config's applications; a part of ``config``, not a copy."""
    for application in config["applications"]:
        if dict_of(application).get("name") == APPLICATION:
            return dict_of(application)
    raise ConfigUnusable(f"the config has no application named {APPLICATION}")


def dict_of(value: object) -> dict[str, Any]:
    """``value`` as a mapping of the YAML."""
    if not isinstance(value, dict):
        raise ConfigUnusable("the config holds something else where a mapping is meant")
    return value


def _scale(deployment: dict[str, Any], workers: int) -> None:
    """WORKERS is the least number of replicas; autoscaling may go on to its own most."""
    autoscaling = deployment.get("autoscaling_config")
    if autoscaling is None:
        deployment["num_replicas"] = workers
        return
    autoscaling["min_replicas"] = workers
    if "initial_replicas" in autoscaling:
        autoscaling["initial_replicas"] = workers
    autoscaling["max_replicas"] = max(workers, autoscaling.get("max_replicas", 1))

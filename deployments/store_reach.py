"""Whether every Loader sees the same store: a directory lies on one node, unless it is shared."""

from collections.abc import Mapping

from cluster.artifacts import is_file_store
from cluster.errors import InsecureSettings
from cluster.ray_environment import STORE_RESOURCE
from cluster.settings import Settings


def require_store_in_reach(settings: Settings) -> None:
    """
    Return if a Loader may start here; called in its replica.

    Raises:
        InsecureSettings: As ``require_one_store`` does.
    """
    import ray

    require_one_store(
        settings,
        nodes=sum(bool(node["Alive"]) for node in ray.nodes()),
        resources=ray.get_runtime_context().get_assigned_resources(),
    )


def require_one_store(settings: Settings, *, nodes: int, resources: Mapping[str, float]) -> None:
    """
    Return if all Loaders read and write one store.

    Args:
        settings: Those of a Loader.
        nodes: Of the Ray cluster, alive now.
        resources: What Ray assigned to this Loader.

    Raises:
        InsecureSettings: A Loader on another node would miss what this one stores.
    """
    if nodes > 1 and not (
        settings.artifact_store_shared or STORE_RESOURCE in resources or not is_file_store(settings)
    ):
        raise InsecureSettings(
            f"the cluster has {nodes} nodes and models are files on one of them: set "
            "ARTIFACT_STORE=s3://<bucket>/<prefix>, or ARTIFACT_STORE_SHARED=true if that "
            f"directory is the same on every node, or pin Loaders by `resources: "
            f"{{{STORE_RESOURCE}: 1}}` in serve_config.yaml"
        )

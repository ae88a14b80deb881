"""
The one place that binds the deployments: ``import_path: serve_app.main:build``.

No ``from __future__ import annotations`` here: Ray validates the YAML's ``args`` against the
annotation of ``build`` and would silently skip that if it were a string.
"""

from ray import serve
from ray.serve import Application
from ray.serve.config import RequestRouterConfig

from cluster.deploy_args import DeployArgs
from cluster.setting_sources import Role, load_settings
from deployments.loader import Loader
from deployments.predictor import Predictor
from serve_app.ingress import Ingress
from serve_app.preflight import refuse_unready

ROUTER = "deployments.router:ModelAffinityRouter"


def build(args: DeployArgs) -> Application:
    """
    The application: Ingress → (Predictor → Loader), Loader.

    Raises:
        InsecureSettings: Naming every fault; Serve shows it as the reason of DEPLOY_FAILED.
        RegistryUnavailable: The database is away, or its schema is old.
    """
    refuse_unready(load_settings(Role.OPERATOR))
    loader = serve.deployment(Loader, name="Loader").bind()
    predictor = (
        serve.deployment(Predictor, name="Predictor")
        .options(request_router_config=RequestRouterConfig(request_router_class=ROUTER))
        .bind(loader, lanes=args.predictor_lanes, cache_bytes=args.predictor_cache_bytes)
    )
    front = serve.ingress()(Ingress)
    return serve.deployment(front, name="Ingress").bind(args, loader, predictor)

"""
The Ingress deployment: builds the services and the HTTP application inside its replica.

The application is built here, not at import: what a module-level ``serve.ingress(app)`` pickles
loses middleware added later, and would carry what its settings hold into Serve's stored state.
"""

import logging

from ray import serve
from starlette.types import ASGIApp

from cluster.deploy_args import DeployArgs
from cluster.errors import PlatformError
from cluster.logs import configure_logging
from cluster.settings import Role, load_settings
from deployments.handles import Handle, ServeLoaders, ServePredictors
from serve_app.app import create_app
from serve_app.hot_routes import HotRoutes
from serve_app.services import Services, build_services

logger = logging.getLogger(__name__)


class Ingress:
    """One replica of the front: FastAPI behind Serve's direct ingress."""

    def __init__(self, args: DeployArgs, loader: Handle, predictor: Handle) -> None:
        settings = args.applied_to(load_settings(Role.INGRESS))
        configure_logging(settings, "ingress")
        self._services: Services = build_services(
            settings,
            predictors=ServePredictors(predictor),
            loaders=ServeLoaders(loader),
            replica_id=serve.get_replica_context().replica_id.unique_id,
            coalesce_max_rows=args.coalesce_max_rows,
        )

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """The application; Serve runs its lifespan before the first request and after the last."""
        return HotRoutes(create_app(self._services), self._services.settings)

    async def check_health(self) -> None:
        """
        Return while a restart would mend nothing.

        Raises:
            PlatformError: The change follower's task ended: answers would go stale for good.
        """
        if not self._services.follower.is_alive:
            logger.error("the change follower ended; asking for a restart")
            raise PlatformError("the change follower ended")

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Figures the autoscaling policy reads."""
        return self._services.inference.autoscaling_stats()

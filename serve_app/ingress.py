"""
The Ingress deployment: builds the services and the HTTP application inside its replica.

The application is built here, not at import: what a module-level ``serve.ingress(app)`` pickles
loses middleware added later, and would carry what its settings hold into Serve's stored state.  Its
modules are imported here too: Serve imports this one once more, on the way of every deploy.
"""

import logging
from typing import TYPE_CHECKING

from ray import serve
from starlette.types import ASGIApp

from cluster.access_log import configure_access_log
from cluster.deploy_args import DeployArgs
from cluster.errors import ReplicaUnavailable
from cluster.health import ReplicaHealth
from cluster.replicas import begin_replica
from cluster.scheduling import behind_others, take_short_slices
from cluster.setting_sources import Role
from cluster.settings import Settings
from deployments.handles import Handle, ServeLoaders, ServePredictors
from deployments.predictor_count import known_predictors

if TYPE_CHECKING:
    from serve_app.services import Services

logger = logging.getLogger(__name__)

#: Beside caches and bodies: interpreter, libraries, connections.
MEMORY_ALLOWANCE_BYTES = 2 * 1024**3
#: Of the largest bodies, each with what was decoded from it.
BODIES_AT_A_TIME = 4


class Ingress:
    """One replica of the front: FastAPI behind Serve's direct ingress."""

    def __init__(self, args: DeployArgs, loader: Handle, predictor: Handle) -> None:
        behind_others(_import_application)
        from serve_app.backup_age import BackupAge
        from serve_app.services import build_services

        settings = args.applied_to(begin_replica(Role.INGRESS))
        configure_access_log(settings, "ingress")
        take_short_slices()
        self._health = ReplicaHealth(lanes=1, memory_bound_bytes=_memory_bound_bytes(settings))
        self._services: Services = build_services(
            settings,
            predictors=ServePredictors(predictor),
            loaders=ServeLoaders(loader),
            replica_id=serve.get_replica_context().replica_id.unique_id,
            coalesce_max_rows=args.coalesce_max_rows,
            predictor_count=known_predictors,
        )
        self._backup_age = BackupAge(self._services.database)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """The application; Serve runs its lifespan before the first request and after the last."""
        from serve_app.app import create_app
        from serve_app.direct_routes import DirectRoutes
        from serve_app.hot_routes import HotRoutes
        from serve_app.middleware.direct import install_direct_answers

        settings = self._services.settings
        hot = HotRoutes(create_app(self._services), settings)
        # Serve makes the span of a request: where there are spans, it has to see them all.
        if not settings.otel_exporter_otlp_endpoint:
            install_direct_answers(DirectRoutes(hot))
        return hot

    async def check_health(self) -> None:
        """
        Return while a restart would mend nothing.

        Raises:
            ReplicaUnavailable: The change follower's task ended, so that answers would go stale for
                good, the event loop stood still, or memory has leaked.
        """
        self._health.beat()
        self._backup_age.report_soon()
        faults = self._health.faults()
        if not self._services.follower.is_alive:
            faults.append("the change follower ended")
        if faults:
            logger.error("asking for a restart: %s", "; ".join(faults))
            raise ReplicaUnavailable("; ".join(faults))

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """
        Figures the autoscaling policy reads; on the event loop, where the queues are.

        An ingress is one event loop: its share of a core is its utilisation, and what waits for it
        waits as long as the loop is late.  What waits for Predictors is their policy's affair and
        is reported under names that this one does not read.
        """
        own = self._health.stats()
        waiting = self._services.inference.autoscaling_stats()
        return {
            "utilisation": own["cpu_share"],
            "queue_age_s": own["loop_lag_p95_s"],
            "loop_lag_s": own["loop_lag_s"],
            "memory_share": own["memory_share"],
            "degraded": own["degraded"],
            "quarantines": float(self._services.trials.recent_quarantines),
            "predictor_queue_age_s": waiting["queue_age_s"],
            "queued_requests": waiting["queued_requests"],
            "calls_in_flight": waiting["calls_in_flight"],
        }


def _import_application() -> None:
    import serve_app.app
    import serve_app.direct_routes
    import serve_app.hot_routes
    import serve_app.middleware.direct  # noqa: F401 - all four for those that use them


def _memory_bound_bytes(settings: Settings) -> int:
    caches = settings.short_path_cache_bytes + settings.result_cache_bytes
    bodies = BODIES_AT_A_TIME * max(settings.max_request_size_binary, settings.max_upload_size)
    return caches * 3 // 2 + bodies + MEMORY_ALLOWANCE_BYTES

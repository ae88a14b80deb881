"""
The environment that ``ray start`` must have; Serve reads it at import, in every process.

Everything here was measured or read in the installed Ray (docs/decisions/ says which); a value
that the operator sets in the environment wins, except where it would open a port or a secret.
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.haproxy import BINARY_PATH, program_path
from cluster.secrets import HandedSecrets, without_secrets
from cluster.settings import Settings
from cluster.tracing import tracing_environment

#: Loaders that read a file store are pinned to the node that has it by this Ray resource.
STORE_RESOURCE = "slipway_store"
MIDDLEWARE = "serve_app.middleware.outermost:middleware"
#: What HAProxy may hold back and replay on another replica when one dies: a small POST.
REPLAYED_BODY_BYTES = 65_536
#: They would lead our Ray to somebody else's cluster.
FOREIGN = frozenset({"RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_NAMESPACE"})
#: More than the request deadline, so that our own 504 comes first.
SERVER_GRACE_S = 5
#: Replicas' own HTTP ports: two generations, and those that wait out their quarantine.
INGRESS_PORTS = 64
ADMIN_SOCKET = "admin.sock"


def haproxy_directory(temporary: Path) -> Path:
    """HAProxy's configuration and sockets; its name is short, since a socket's path must be."""
    return temporary / "h"


@dataclass(frozen=True, kw_only=True, slots=True)
class RayPlaces:
    """Where one Ray head keeps its files, and the ports that no setting names."""

    temporary: Path
    first_ingress_port: int
    #: Of Serve's own proxy, HAProxy's last resort; the next one is its gRPC port.
    fallback_port: int

    @property
    def haproxy(self) -> Path:
        """HAProxy's configuration and admin socket."""
        return haproxy_directory(self.temporary)


def ray_environment(
    settings: Settings, secrets: HandedSecrets, places: RayPlaces, inherited: Mapping[str, str]
) -> dict[str, str]:
    """
    The whole environment of Ray's processes: ours over what is inherited, no secret in it.

    Args:
        settings: As the operator gave them.
        secrets: The files that replicas read theirs from.
        places: Of this Ray head.
        inherited: Usually ``os.environ``.

    Returns:
        Variables by name.
    """
    own = {name: value for name, value in inherited.items() if name not in FOREIGN}
    tunable = without_secrets(serve_tuning(settings) | own)
    return tunable | fixed_environment(settings, secrets, places, inherited)


def serve_tuning(settings: Settings) -> dict[str, str]:
    """What an operator may set otherwise: speeds, periods and bounds of Serve and HAProxy."""
    haproxy = program_path()
    return {
        **({BINARY_PATH: str(haproxy)} if haproxy else {}),
        # Ray's own 15 would let any other program on the machine, and even a vetting child or a
        # client beside it, run before the replicas that answer requests.
        "RAY_worker_niceness": "0",
        "RAY_SERVE_HAPROXY_NBTHREAD": str(max(1, min(4, (os.cpu_count() or 1) // 4))),
        # With it on, HAProxyManager costs about 90 µs of CPU a request.
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(REPLAYED_BODY_BYTES),
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",
        "RAY_SERVE_HAPROXY_TIMEOUT_SERVER_S": str(int(settings.request_timeout_s) + SERVER_GRACE_S),
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "1s",
        # A replica that is only busy answers its checks late: taken for dead by two of them, its
        # callers got HAProxy's own 500 in an overload.
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_FALL": "4",
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "0.5",
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "2",
        "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
        "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "1000",
        "RAY_SERVE_LOG_TO_STDERR": "0",
        **tracing_environment(settings),
        # A replica works in one thread; native libraries would start one a core in each.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
    }


def fixed_environment(
    settings: Settings, secrets: HandedSecrets, places: RayPlaces, inherited: Mapping[str, str]
) -> dict[str, str]:
    """What holds whatever the operator's environment says."""
    haproxy = places.haproxy
    last_ingress_port = places.first_ingress_port + INGRESS_PORTS - 1
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": MIDDLEWARE,
        "RAY_SERVE_HAPROXY_STATS_PORT": str(settings.haproxy_stats_port),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(settings.haproxy_metrics_port),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
        # World-writable by Serve's template: the directory above it is 0700.
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / ADMIN_SOCKET),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(haproxy / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(places.first_ingress_port),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(last_ingress_port),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(places.fallback_port),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(places.fallback_port + 1),
        # Without it a dead HAProxyManager leaves its HAProxy behind, which keeps the ports.
        "RAY_process_group_cleanup_enabled": "1",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(secrets.ray_token),
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        # Despite its name this decides what ``--node-ip-address 127.0.0.1`` means on Linux too:
        # without it Ray 2.60 takes the machine's outward address instead
        # (ray/_private/services.py, resolve_ip_for_localhost), and GCS, raylet and agents listen
        # there.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        # The wheel of ONNX Runtime 1.32 would tell its maker of each session.
        "ORT_DISABLE_TELEMETRY": "1",
        "RAY_TMPDIR": str(places.temporary),
        "RAY_DASHBOARD_ADDRESS": f"http://127.0.0.1:{settings.dashboard_port}",
        "RAY_OVERRIDE_RESOURCES": json.dumps({STORE_RESOURCE: 1000}),
        # Serve trusts X-Forwarded-For from loopback, where everything comes from here.
        "FORWARDED_ALLOW_IPS": "",
        "PATH": _path(inherited),
        **application_environment(settings, secrets, inherited),
    }


def application_environment(
    settings: Settings, secrets: HandedSecrets, inherited: Mapping[str, str]
) -> dict[str, str]:
    """What our own replicas read beside the inherited settings: absolute names of files."""
    named = inherited.get("ENV_FILE")
    default = Path(".env").absolute()
    # A replica's working directory is not ours: nothing may be found relative to it.
    env_file = str(Path(named).absolute()) if named else str(default) if default.is_file() else ""
    return {
        "SLIPWAY_HOME": str(settings.slipway_home),
        "ENV_FILE": "" if named == "" else env_file,
        "IS_DATABASE_EMBEDDED": "true" if settings.is_database_embedded else "false",
        **secrets.files,
    }


def _path(inherited: Mapping[str, str]) -> str:
    """PATH with this interpreter's own programs (``ray``, ``serve``) first."""
    own = str(Path(sys.executable).parent)
    rest = inherited.get("PATH", os.defpath)
    return rest if rest.split(os.pathsep)[0] == own else f"{own}{os.pathsep}{rest}"

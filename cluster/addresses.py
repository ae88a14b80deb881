"""Where a platform listens and how one sees that it does."""

from pathlib import Path

import httpx

from cluster.ports import RememberedPorts
from cluster.ray_environment import INGRESS_PORTS, RayPlaces
from cluster.settings import Settings

#: Taken if free, since the edge's configuration names the ingress replicas' own ports as a backup.
FIRST_INGRESS_PORT = 30_000
FALLBACK_PORT = 8500


def ray_places(home: Path, temporary: Path) -> RayPlaces:
    """The places of a Ray head that keeps its files in ``temporary``."""
    ports = RememberedPorts(home)
    return RayPlaces(
        temporary=temporary,
        first_ingress_port=ports.choose(
            "ingress", size=INGRESS_PORTS, preferred=FIRST_INGRESS_PORT
        ),
        fallback_port=ports.choose("fallback_proxy", size=2, preferred=FALLBACK_PORT),
    )


def own_http_ports(home: Path) -> frozenset[int]:
    """Ports that serve HTTP beside PORT, bound to the same address: replicas' and Serve's own."""
    ports = RememberedPorts(home)
    first, fallback = ports.find("ingress"), ports.find("fallback_proxy")
    ingress = () if first is None else range(first, first + INGRESS_PORTS)
    return frozenset({*ingress, *(() if fallback is None else (fallback,))})


def platform_ports(settings: Settings) -> dict[str, int]:
    """The ports that settings name, by setting."""
    return {
        "PORT": settings.port,
        "DASHBOARD_PORT": settings.dashboard_port,
        "RAY_PORT": settings.ray_port,
        "HAPROXY_STATS_PORT": settings.haproxy_stats_port,
        "HAPROXY_METRICS_PORT": settings.haproxy_metrics_port,
    }


def service_url(settings: Settings) -> str:
    """Where this machine reaches the service."""
    host = settings.host
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104
    return f"http://{everywhere.get(host, host)}:{settings.port}"


def dashboard_url(settings: Settings) -> str:
    """Ray's dashboard; it asks for the cluster's token."""
    return f"http://127.0.0.1:{settings.dashboard_port}"


def answers(url: str) -> bool:
    """
    Whether our application is ready behind ``url``.

    A 200 without X-Request-ID, or HAProxy's own 404 while its routes are empty, is not ours.
    """
    try:
        with httpx.Client(trust_env=False, timeout=5) as client:
            answer = client.get(f"{url}/health/ready")
    except httpx.HTTPError:
        return False
    return answer.status_code == httpx.codes.OK and "x-request-id" in answer.headers

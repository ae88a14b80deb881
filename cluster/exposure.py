"""
Looks at a running platform from outside: does Ray ask for its token, what listens on a network?

Whoever may speak to one of Ray's ports runs code here, so a platform that fails this is stopped.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import httpx
import psutil

from cluster.errors import PlatformError
from cluster.settings import Settings

#: Doors of the dashboard behind which code runs or the application is replaced.
GUARDED = ("/api/jobs/", "/api/serve/applications/")
#: Ray's own servers, from which its workers inherit their environment; those rename themselves,
#: which writes over what /proc shows of theirs.
SERVERS = frozenset({"gcs_server", "raylet"})
_REFUSALS = frozenset({httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN})
_TIMEOUT_S = 10.0


class Exposed(PlatformError):
    """The platform can be reached, or steered, by who should not."""

    code = "exposed"


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenPorts:
    """The ports that may be reached from other machines."""

    #: Of the service itself: empty where HOST is a loopback address.
    service: frozenset[int]
    #: Of HAProxy's statistics and metrics, which bind everywhere whatever they are told; they
    #: show counts alone.
    haproxy: frozenset[int]

    @classmethod
    def of(cls, settings: Settings, ingress: Iterable[int] = ()) -> "OpenPorts":
        """
        What the settings allow.

        Args:
            settings: HOST decides whether the service itself is open.
            ingress: The replicas' own HTTP ports, which bind where the service does.
        """
        is_local = _is_loopback(settings.host)
        return cls(
            service=frozenset() if is_local else frozenset({settings.port, *ingress}),
            haproxy=frozenset({settings.haproxy_stats_port, settings.haproxy_metrics_port}),
        )


def refuse_exposed(
    processes: Iterable[psutil.Process], ports: OpenPorts, dashboard_url: str
) -> None:
    """
    Return if the platform is as closed as it should be.

    Raises:
        Exposed: With one sentence for each thing that is not.
    """
    if faults := find_exposures(processes, ports, dashboard_url):
        raise Exposed("; ".join(faults))


def find_exposures(
    processes: Iterable[psutil.Process], ports: OpenPorts, dashboard_url: str
) -> list[str]:
    """
    Sentences on what is open and should not be; empty for a sound platform.

    Args:
        processes: All of the platform's Ray.
        ports: That may be open.
        dashboard_url: Of its Ray dashboard.
    """
    faults = list(_open_doors(dashboard_url))
    for process in processes:
        try:
            faults += _faults(process, ports)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):  # ended since it was listed
            continue
        except psutil.AccessDenied:
            faults.append(f"pid {process.pid} cannot be looked at")
    return faults


def _open_doors(dashboard_url: str) -> Iterator[str]:
    with httpx.Client(trust_env=False, timeout=_TIMEOUT_S) as client:
        for path in GUARDED:
            try:
                status = client.get(dashboard_url + path).status_code
            except httpx.HTTPError as error:
                yield f"the dashboard does not answer at {path} ({type(error).__name__})"
                continue
            if status not in _REFUSALS:
                yield f"Ray's dashboard answers {status} at {path} without a token"


def _faults(process: psutil.Process, ports: OpenPorts) -> Iterator[str]:
    who = f"pid {process.pid} ({process.name()})"
    if process.name() in SERVERS and not _asks_for_token(process.environ()):
        yield f"{who} runs without RAY_AUTH_MODE=token"
    beyond = [
        connection.laddr
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN and not _is_loopback(connection.laddr.ip)
    ]
    unexpected = [at for at in beyond if at.port not in ports.service]
    if process.name() == "haproxy":
        unexpected = [at for at in unexpected if at.port not in ports.haproxy]
    elif _is_replica(process):
        # Serve's gRPC between deployments binds everywhere, on a port of its choice, and asks for
        # the token.
        unexpected = unexpected[1:]
    for at in unexpected:
        yield f"{who} listens on {at.ip} port {at.port}"


def _asks_for_token(environment: Mapping[str, str]) -> bool:
    return environment.get("RAY_AUTH_MODE") == "token" and "RAY_AUTH_TOKEN_PATH" in environment


def _is_replica(process: psutil.Process) -> bool:
    words = process.cmdline()
    return bool(words) and words[0].startswith("ray::ServeReplica")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)

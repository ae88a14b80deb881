"""
The configuration of the edge: nginx before HAProxy, the only port that a deployment publishes.

``render`` fills ``cluster/nginx/edge.conf``; what differs between installations is in
``EdgeConfig``.  Retries follow one rule: predictions may be sent twice, nothing else may.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from cluster.edge_bodies import BodyPace
from cluster.edge_errors import (
    BAD_GATEWAY,
    DEADLINE_EXCEEDED,
    ERRORS,
    HOST_REFUSED,
    HSTS,
    NOT_FOUND,
    REPLICA_UNAVAILABLE,
    answer,
    error_page,
    location,
    too_large,
)
from cluster.edge_routes import (
    Bounds,
    back_routes,
    client_map,
    failed,
    front_routes,
    grafana,
    proxy_headers,
    replica_routes,
)
from cluster.errors import InsecureSettings
from cluster.settings import Settings

TEMPLATE = Path(__file__).resolve().parent / "nginx" / "edge.conf"
#: An upload's other parts, as the application counts them (serve_app/middleware/body_limit.py).
UPLOAD_EXTRA_BYTES = 2 * 1024 * 1024
#: Bytes of a body that comes without TLS, of which nothing is read.
PLAIN_BODY_BYTES = 1024
#: What the back answers by itself.
BACK_ERRORS = (BAD_GATEWAY, REPLICA_UNAVAILABLE, DEADLINE_EXCEEDED)
#: Would end a directive, or begin a variable, in nginx's language.
_UNSAFE = re.compile(r"[\s;{}\"'$\\#]")


class _Template(Template):
    delimiter = "%"


@dataclass(frozen=True, kw_only=True, slots=True)
class EdgeConfig:
    """What one installation's edge is told; see ``from_settings`` for the usual way."""

    #: Host names that are served, as ALLOWED_HOSTS has them.
    server_names: tuple[str, ...]
    #: EDGE_TOKEN: proves to the application that a request came this way.
    token: str = field(repr=False)
    certificate: Path
    certificate_key: Path
    #: host:port of each node's HAProxy.
    doors: tuple[str, ...] = ("127.0.0.1:8000",)
    #: Hosts of ingress replicas, and the ports that Serve gives them there; 0 ports where the edge
    #: cannot reach them: then HAProxy is asked again, and a 404 of its own passes as it is.
    replica_hosts: tuple[str, ...] = ("127.0.0.1",)
    first_replica_port: int = 30_000
    replica_ports: int = 64
    #: Directory for the pid and for bodies on their way; writable.
    directory: Path = Path("/tmp/edge")  # noqa: S108 - a tmpfs of the container's own
    address: str = ""
    http_port: int = 8080
    https_port: int = 8443
    #: Port that clients use for HTTPS, which redirects name.
    public_https_port: int = 443
    #: Answers /live on loopback, for the container's own probe.
    probe_port: int = 8081
    access_log: str = "/dev/stdout"
    #: Load balancers before the edge that append to X-Forwarded-For.
    trusted_hops: int = 0
    json_bytes: int = 16 * 1024 * 1024
    binary_bytes: int = 256 * 1024 * 1024
    upload_bytes: int = 100 * 1024 * 1024 + UPLOAD_EXTRA_BYTES
    deadline_s: float = 30
    #: HAProxy's own deadline is the request's + 5 s; the edge waits for its answer.
    answer_grace_s: int = 10
    header_timeout_s: int = 10
    #: Of silence within a body; the pace is that of all of it.
    body_timeout_s: int = 10
    body_pace: BodyPace = field(default_factory=BodyPace)
    send_timeout_s: int = 10
    connections_per_address: int = 512
    requests_per_second: int = 2000
    auth_requests_per_second: int = 20
    #: host:port of Grafana, to be shown under /grafana/; none hides it.
    grafana: str = ""

    @classmethod
    def from_settings(
        cls, settings: Settings, *, certificate: Path, certificate_key: Path, **changes: object
    ) -> "EdgeConfig":
        """
        What the application's settings say, so that both agree on hosts, bounds and the secret.

        Raises:
            InsecureSettings: Without EDGE_TOKEN or ALLOWED_HOSTS.
        """
        token = settings.edge_token.get_secret_value() if settings.edge_token else ""
        values: dict[str, object] = {
            "server_names": tuple(settings.effective_allowed_hosts),
            "token": token,
            "certificate": certificate,
            "certificate_key": certificate_key,
            "doors": (f"127.0.0.1:{settings.port}",),
            "trusted_hops": settings.trusted_proxy_hops,
            "json_bytes": settings.max_request_size,
            "binary_bytes": settings.max_request_size_binary,
            "upload_bytes": settings.max_upload_size + UPLOAD_EXTRA_BYTES,
            "deadline_s": settings.request_timeout_s,
        }
        return cls(**(values | changes))  # type: ignore[arg-type]  # by name, checked by render


def render(config: EdgeConfig) -> str:
    """
    The nginx configuration; it holds the edge's secret.

    Raises:
        InsecureSettings: Naming what is missing, or what nginx would read as something else.
    """
    _require_safe(config)
    blocks = _plain_values(config) | _upstreams(config) | _answers(config)
    return _Template(TEMPLATE.read_text(encoding="utf-8")).substitute(blocks)


def _plain_values(config: EdgeConfig) -> dict[str, object]:
    standard_port = 443
    public = config.public_https_port
    return {
        "directory": config.directory,
        "access_log": config.access_log,
        "header_timeout_s": config.header_timeout_s,
        "body_timeout_s": config.body_timeout_s,
        "send_timeout_s": config.send_timeout_s,
        "requests_per_second": config.requests_per_second,
        "auth_requests_per_second": config.auth_requests_per_second,
        "connections_per_address": config.connections_per_address,
        "answer_timeout_s": int(config.deadline_s) + config.answer_grace_s,
        "back_timeout_s": int(config.deadline_s) + config.answer_grace_s + 5,
        "http_listen": _listen(config.address, config.http_port),
        "https_listen": _listen(config.address, config.https_port),
        "https_suffix": "" if public == standard_port else f":{public}",
        "probe_port": config.probe_port,
        "server_names": " ".join(config.server_names),
        "certificate": config.certificate,
        "certificate_key": config.certificate_key,
        "hsts": HSTS,
        "json_bytes": config.json_bytes,
        "most_bytes": max(config.json_bytes, config.binary_bytes, config.upload_bytes),
    }


def _upstreams(config: EdgeConfig) -> dict[str, str]:
    first, count = config.first_replica_port, config.replica_ports
    ports = range(first, first + count)
    replicas = [f"server {host}:{port}" for host in config.replica_hosts for port in ports]
    doors = [f"server {door} max_fails=0;" for door in config.doors]
    return {
        # HAProxy is asked first each time: where it is away, its port refuses at once.
        "doors": _block(doors, 2),
        # A port without a replica refuses at once, and is then left alone for a while.
        "backups": _block([f"{port} max_fails=1 fail_timeout=5s backup;" for port in replicas], 2),
        # The last to be asked: each is tried, whatever happened to it before.
        "replicas": _block([f"{port} max_fails=0;" for port in replicas] or doors, 2),
    }


def _answers(config: EdgeConfig) -> dict[str, str]:
    errors = (*ERRORS, too_large(config.json_bytes))
    plain_errors = (*ERRORS, too_large(PLAIN_BODY_BYTES))
    bounds = Bounds(binary_bytes=config.binary_bytes, upload_bytes=config.upload_bytes)
    window_s = int(config.deadline_s)
    bursts = {
        "burst": 2 * config.requests_per_second,
        "auth_burst": 2 * config.auth_requests_per_second,
    }
    return {
        "load_modules": _block(config.body_pace.load(), 0),
        "define_await_body": _block(config.body_pace.define(), 1),
        "await_probe_body": _block(config.body_pace.wait(PLAIN_BODY_BYTES), 3),
        "await_body": _block(config.body_pace.wait(config.json_bytes), 2),
        "client_map": _block(client_map(config.trusted_hops), 1),
        "proxy_headers": _block(proxy_headers(config.token), 2),
        "plain_error_pages": _block(map(error_page, plain_errors), 2),
        "plain_error_locations": _block(
            (line for error in plain_errors for line in location(error, is_tls=False)), 2
        ),
        "error_pages": _block(map(error_page, errors), 2),
        "error_locations": _block(
            (line for error in errors for line in location(error, is_tls=True)), 2
        ),
        "host_refused": _block(answer(HOST_REFUSED, is_tls=False), 3),
        "not_found": _block(answer(NOT_FOUND, is_tls=True), 3),
        "routes": _block(front_routes(bounds, config.body_pace, **bursts), 2),
        "back_routes": _block(back_routes(window_s), 2),
        "replica_routes": _block(replica_routes(window_s), 2),
        "back_error_locations": _block(
            (line for error in BACK_ERRORS for line in location(error, is_tls=False)), 2
        ),
        "grafana": _block(grafana(config.grafana), 2),
        "failed": _block(failed(), 3),
    }


def _block(lines: Iterable[str], depth: int) -> str:
    return "\n".join("    " * depth + line for line in lines)


def _listen(address: str, port: int) -> str:
    return f"{address}:{port}" if address else str(port)


def _require_safe(config: EdgeConfig) -> None:
    faults = []
    if not config.token:
        faults.append("EDGE_TOKEN is missing: without it the application believes no edge")
    if not config.server_names or "*" in config.server_names:
        faults.append("ALLOWED_HOSTS is empty or *: name the hosts that the edge serves")
    faults += [
        f"{word[:40]!r} holds a character that nginx's language reserves"
        for word in _words(config)
        if _UNSAFE.search(word)
    ]
    if _UNSAFE.search(config.token):
        faults.append("EDGE_TOKEN holds a character that nginx's language reserves")
    if faults:
        raise InsecureSettings("the edge cannot be rendered: " + "; ".join(faults))


def _words(config: EdgeConfig) -> Iterable[str]:
    yield from config.server_names
    yield from config.doors
    yield from config.replica_hosts
    yield from (config.address, config.access_log, config.grafana)
    yield from map(str, (config.certificate, config.certificate_key, config.directory))
    yield str(config.body_pace.lua_modules or "")

"""
The edge's locations: which route takes how many bytes, and which may be sent twice.

Lines of nginx configuration, unindented.  What HAProxy makes up itself (404 while its routes are
empty, 500 when a replica dies) is asked again at a replica where that is safe.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cluster.edge_bodies import BodyPace
from cluster.edge_errors import (
    BAD_GATEWAY,
    DEADLINE_EXCEEDED,
    ERRORS,
    REPLICA_UNAVAILABLE,
    EdgeError,
    body,
    error_page,
    header_lines,
    location,
    too_large,
)

#: What steers Ray Serve, or claims what only the edge may say: never passed on.
STRIPPED = (
    "X-Request-Timeout-Seconds",
    "X-Request-Disconnect-Disabled",
    "Serve-Multiplexed-Model-Id",
    "X-Session-Id",
    "Forwarded",
    "X-Forwarded-Prefix",
    "X-Forwarded-Server",
    "Proxy",
)
PREDICT = r"^/api/v1/(models/[^/]+/)?predict/?$"
INFER = r"^/v2/models/.+/infer/?$"
UPLOAD = r"^/api/v1/models(/[^/]+/versions)?/?$"
#: Only what was never sent, or what HTTP calls idempotent, goes to another server.
_NO_RETRIES = ("proxy_next_upstream error;", "proxy_next_upstream_timeout 10s;")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """Most bytes of a body where a route takes more than JSON."""

    binary_bytes: int
    upload_bytes: int


def front_routes(bounds: Bounds, pace: BodyPace, *, burst: int, auth_burst: int) -> list[str]:
    """The locations of the application's routes: limits, and the bound of a body."""
    limit = f"limit_req zone=edge_requests burst={burst} nodelay;"
    auth = f"limit_req zone=edge_auth burst={auth_burst} nodelay;"
    predict, rest = "proxy_pass http://edge_back_predict;", "proxy_pass http://edge_back;"
    return [
        *_location(f"~ {PREDICT}", [limit, predict]),
        *_bounded(f"~ {INFER}", "infer", bounds.binary_bytes, pace, [limit, predict]),
        *_bounded(f"~ {UPLOAD}", "upload", bounds.upload_bytes, pace, [limit, rest]),
        *_location("^~ /api/v1/auth/", [limit, auth, rest]),
        *_location("/", [limit, rest]),
    ]


def back_routes(window_s: int) -> list[str]:
    """
    The locations behind them, which ask HAProxy first.

    Args:
        window_s: Seconds within which a prediction may be sent again.
    """
    predict = [
        *_retries(window_s),
        "error_page 404 500 = @replica_predict;",
        # Where no server was left: nginx hands one that had failed a single request, and until that
        # is answered nobody else's, though it may have come up just now.
        "error_page 502 = @replica_again;",
        "proxy_pass http://edge_predict;",
    ]
    once = [
        *_NO_RETRIES,
        "error_page 404 = @replica_once;",
        "error_page 500 = @failed;",
        error_page(BAD_GATEWAY),
        "proxy_pass http://edge_once;",
    ]
    return [
        *_location(f"~ {PREDICT}", predict),
        *_location(f"~ {INFER}", predict),
        *_location("/", once),
    ]


def replica_routes(window_s: int) -> list[str]:
    """
    The locations that ask the replicas themselves, and what is told where none answers.

    What HAProxy answers 404 was never seen by the application, and what the application answers
    404 did nothing: anything may be asked once more.
    """
    return [
        *_at_replicas("@replica_once", REPLICA_UNAVAILABLE, _NO_RETRIES),
        *_at_replicas("@replica_predict", REPLICA_UNAVAILABLE, _retries(window_s)),
        *_at_replicas("@replica_again", BAD_GATEWAY, _retries(window_s)),
    ]


def grafana(address: str) -> list[str]:
    """Grafana's location, which asks for its own password; nothing without an address."""
    if not address:
        return []
    return _location(
        "^~ /grafana/",
        [
            # Looked up at each request: the edge starts before Grafana does.
            "resolver 127.0.0.11 valid=10s ipv6=off;",
            f"set $edge_grafana {address};",
            # Its own host and the client's address; the proof of origin is none of its business.
            "proxy_set_header Host $host;",
            "proxy_set_header X-Forwarded-For $edge_client;",
            "proxy_set_header X-Forwarded-Proto https;",
            "proxy_pass http://$edge_grafana;",
        ],
    )


def failed() -> list[str]:
    """Answers a 500: the application's with its id, HAProxy's as what it stands for."""
    internal = next(error for error in ERRORS if error.status == 500)  # noqa: PLR2004 - itself
    return [
        *header_lines(internal, is_tls=False),
        "add_header Retry-After $edge_retry_after always;",
        'if ($upstream_http_x_request_id = "") {',
        f"    return {REPLICA_UNAVAILABLE.status} '{body(REPLICA_UNAVAILABLE)}';",
        "}",
        f"return 500 '{body(internal)}';",
    ]


def proxy_headers(token: str) -> list[str]:
    """What the application is told of a request, over whatever the client said."""
    told = {
        "Host": "$host",
        "Connection": '""',
        "X-Request-ID": "$edge_request_id",
        "X-Slipway-Edge": f'"{token}"',
        "X-Forwarded-For": "$edge_client",
        "X-Forwarded-Host": "$host",
        "X-Forwarded-Port": "$server_port",
        "X-Real-IP": "$edge_client",
    } | dict.fromkeys(STRIPPED, '""')
    return [f"proxy_set_header {name} {value};" for name, value in told.items()]


def client_map(hops: int) -> list[str]:
    """
    The map to ``$edge_client``: the peer, or what the balancer furthest away wrote.

    Args:
        hops: Load balancers before the edge, each of which appended one entry.
    """
    if hops == 0:
        return ["map $remote_addr $edge_client {", "    default $remote_addr;", "}"]
    entry = r"(?:^|,)\s*(?<hop>[0-9A-Fa-f.:]+)" + rf"(?:\s*,[^,]*){{{hops - 1}}}\s*$"
    return [
        "map $http_x_forwarded_for $edge_client {",
        f'    "~{entry}" $hop;',
        "    default $remote_addr;",
        "}",
    ]


def _location(match: str, lines: Iterable[str]) -> list[str]:
    return [f"location {match} {{", *(f"    {line}" for line in lines), "}"]


def _bounded(
    match: str, name: str, bound_bytes: int, pace: BodyPace, lines: Iterable[str]
) -> list[str]:
    """A location with a bound of its own, which its 413 names."""
    own = too_large(bound_bytes)
    refusal = f"{own.path}/{name}"
    # One error_page of its own drops all that are inherited.
    pages = [error_page(own, path=refusal), *map(error_page, ERRORS)]
    inner = [f"client_max_body_size {bound_bytes};", *pace.wait(bound_bytes), *pages, *lines]
    return [*_location(match, inner), *location(own, is_tls=True, path=refusal)]


def _retries(window_s: int) -> tuple[str, ...]:
    """A prediction is pure: it may be sent again whatever became of the first."""
    return (
        "proxy_next_upstream error timeout http_502 non_idempotent;",
        f"proxy_next_upstream_timeout {window_s}s;",
    )


def _at_replicas(name: str, error: EdgeError, retries: Sequence[str]) -> list[str]:
    return _location(
        name,
        [
            "proxy_intercept_errors off;",
            f"error_page 502 503 ={error.status} {error.path};",
            error_page(DEADLINE_EXCEEDED),
            *retries,
            "proxy_pass http://edge_replicas;",
        ],
    )

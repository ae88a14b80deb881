"""
What the edge answers by itself, in the words and the form of the application.

nginx can name a body for each status of its own; this module writes those bodies, with the request
id and the security headers that every response of ours has.
"""

import json
from dataclasses import dataclass

#: On every answer that the edge makes; the application's carry their own.
HEADERS = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "X-XSS-Protection": "1; mode=block",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
}
HSTS = "max-age=31536000; includeSubDomains"
#: nginx's variable for the id that the edge gave a request.
REQUEST_ID = "$edge_request_id"


@dataclass(frozen=True, kw_only=True, slots=True)
class EdgeError:
    """One status that the edge answers by itself."""

    status: int
    code: str
    sentence: str
    #: nginx's own statuses that lead here.
    causes: tuple[int, ...]
    retry_after_s: int | None = None
    allow: str = ""

    @property
    def path(self) -> str:
        """Path of the nginx location that answers it; internal, and under what is shut."""
        return f"/-/edge/{self.status}"


NOT_FOUND = EdgeError(
    status=404,
    code="not_found",
    sentence="there is nothing at this path: see /docs",
    causes=(403, 404),
)
HOST_REFUSED = EdgeError(
    status=400,
    code="host_refused",
    sentence="this service does not answer to that host name: check the URL",
    causes=(),
)
REPLICA_UNAVAILABLE = EdgeError(
    status=503,
    code="replica_unavailable",
    sentence="no replica could take the request: try again",
    causes=(503,),
    retry_after_s=1,
)
BAD_GATEWAY = EdgeError(
    status=502,
    code="replica_unavailable",
    sentence="no replica could take the request: try again",
    causes=(502,),
    retry_after_s=1,
)
DEADLINE_EXCEEDED = EdgeError(
    status=504,
    code="deadline_exceeded",
    sentence="the deadline passed before the answer came",
    causes=(504,),
)
#: All that the front may refuse or fail with.
ERRORS = (
    EdgeError(
        status=400,
        code="bad_request",
        sentence="the request cannot be understood: check its form, and that it comes by HTTPS",
        # 497 is plain HTTP on the port of TLS; 501 and 505 are the client's doing as well.
        causes=(400, 497, 501, 505),
    ),
    NOT_FOUND,
    EdgeError(
        status=405,
        code="method_not_allowed",
        sentence="this path does not take this method: see the Allow header",
        causes=(405,),
        allow="GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
    ),
    EdgeError(
        status=408,
        code="request_timeout",
        sentence="the request did not arrive in time: send it faster",
        causes=(408,),
    ),
    EdgeError(
        status=414,
        code="headers_too_large",
        sentence="the URL is longer than allowed: shorten it",
        causes=(414,),
    ),
    EdgeError(
        status=431,
        code="headers_too_large",
        sentence="the request's headers are larger than allowed: send fewer",
        causes=(494,),
    ),
    EdgeError(
        status=429,
        code="rate_limited",
        sentence="too many requests or connections from this address: slow down",
        causes=(429,),
        retry_after_s=1,
    ),
    EdgeError(
        status=500,
        code="internal",
        sentence="something failed on our side: try again, or report the request id",
        causes=(500,),
    ),
    BAD_GATEWAY,
    REPLICA_UNAVAILABLE,
    DEADLINE_EXCEEDED,
)


def too_large(bound_bytes: int) -> EdgeError:
    """The 413 of a route that takes ``bound_bytes``."""
    return EdgeError(
        status=413,
        code="too_large",
        sentence=f"the body is larger than {bound_bytes} bytes: send less, or ask the operator "
        "for more",
        causes=(413,),
    )


def body(error: EdgeError, *, request_id: str = REQUEST_ID) -> str:
    """The JSON body as nginx writes it, its variables unexpanded."""
    text = json.dumps(
        {"error": error.sentence, "code": error.code, "request_id": request_id},
        separators=(",", ":"),
    )
    if "'" in error.sentence:
        # The configuration quotes with ', and JSON may spell it otherwise.
        text = text.replace("'", "\\u0027")
    return text


def header_lines(error: EdgeError, *, is_tls: bool) -> list[str]:
    """``add_header`` directives of an answer; nginx drops the inherited ones once there is one."""
    headers = dict(HEADERS)
    if is_tls:
        headers["Strict-Transport-Security"] = HSTS
    headers["X-Request-ID"] = REQUEST_ID
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if error.allow:
        headers["Allow"] = error.allow
    return [f'add_header {name} "{value}" always;' for name, value in headers.items()]


def answer(error: EdgeError, *, is_tls: bool) -> list[str]:
    """The directives that answer with ``error``."""
    return [*header_lines(error, is_tls=is_tls), f"return {error.status} '{body(error)}';"]


def location(error: EdgeError, *, is_tls: bool, path: str = "") -> list[str]:
    """The location that answers with ``error``."""
    # Not a named one: nginx goes to those only once it has read a URL.
    inner = [f"    {line}" for line in ("internal;", *answer(error, is_tls=is_tls))]
    return [f"location = {path or error.path} {{", *inner, "}"]


def error_page(error: EdgeError, *, path: str = "") -> str:
    """The ``error_page`` directive that leads to it."""
    causes = " ".join(map(str, error.causes))
    return f"error_page {causes} ={error.status} {path or error.path};"

"""The host allow-list: a Host header that we do not answer to is refused before any route."""

from starlette.types import ASGIApp, Receive, Scope, Send

from cluster.request_context import request_id_var
from cluster.request_errors import HostRefused
from serve_app.api.errors import error_response, is_v2
from serve_app.middleware.exempt import is_health


class TrustedHosts:
    """Lets pass exact names, and ``*.example.com`` for the names below it."""

    def __init__(self, app: ASGIApp, *, allowed: tuple[str, ...]) -> None:
        self._app = app
        names = {name.lower().rstrip(".") for name in allowed}
        self._any = "*" in names
        self._exact = frozenset(names)
        self._suffixes = tuple(name[1:] for name in names if name.startswith("*."))
        # Host headers seen to be good, port and all, so that the next costs one look-up.
        self._known: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request for an allowed host, or a probe; answer 400 to the others."""
        if scope["type"] != "http" or self._is_allowed(scope) or is_health(scope["path"]):
            await self._app(scope, receive, send)
            return
        error = HostRefused("this service does not answer to that host name: check the URL")
        response = error_response(error, request_id_var.get(), v2=is_v2(scope["path"]))
        await response(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        if self._any:
            return True
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        return len(hosts) == 1 and self.allows(hosts[0])

    def allows(self, host: bytes) -> bool:
        """Whether a Host header is one that we answer to."""
        if self._any or host in self._known:
            return True
        is_good = self._matches(host_name(host.decode("latin-1")))
        if is_good and len(self._known) < 1000:  # noqa: PLR2004 - wildcards allow endless names
            self._known.add(host)
        return is_good

    def _matches(self, name: str) -> bool:
        return name in self._exact or (bool(self._suffixes) and name.endswith(self._suffixes))


def host_name(host: str) -> str:
    """The name in a Host header: lower case, without port and final dot; ``[::1]`` keeps []."""
    name, separator, port = host.rpartition(":")
    if not separator or not port.isdigit() or (":" in name and not name.endswith("]")):
        name = host
    return name.lower().rstrip(".")

"""HTTP becomes HTTPS in production, by the scheme that the proven edge reports."""

from urllib.parse import quote

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.middleware.exempt import is_health
from serve_app.middleware.trusted_hosts import host_name


class HttpsRedirect:
    """Answers 308, which keeps method and body, to what came without TLS; probes pass."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Redirect a plain request to the same host, which the host list has let pass."""
        is_plain = scope["type"] == "http" and scope["scheme"] == "http"
        if not is_plain or is_health(scope["path"]):
            await self._app(scope, receive, send)
            return
        host = next(value for name, value in scope["headers"] if name == b"host")
        query = scope["query_string"].decode("latin-1")
        # The port of plain HTTP is not that of TLS: the edge listens on the standard one.
        target = f"https://{host_name(host.decode('latin-1'))}{quote(scope['path'])}"
        response = RedirectResponse(target + (f"?{query}" if query else ""), 308)
        await response(scope, receive, send)

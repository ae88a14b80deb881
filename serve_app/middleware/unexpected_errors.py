"""The last net: what no handler knows becomes a logged 500 with our body."""

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.request_context import request_id_var
from serve_app.api.errors import error_response, is_v2, status_of

log = logging.getLogger(__name__)


class UnexpectedErrors:
    """Answers for exceptions that would otherwise reach the server."""

    def __init__(self, app: ASGIApp, *, show_details: bool) -> None:
        self._app = app
        self._show_details = show_details

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on; raises only what comes after the response has begun."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_started = False

        async def noting_send(message: Message) -> None:
            nonlocal is_started
            is_started = True
            await send(message)

        try:
            await self._app(scope, receive, noting_send)
        except Exception as error:
            # The border to the server, which would answer in plain text without our headers.
            if status_of(error) >= 500:  # noqa: PLR2004 - ours, hence worth a traceback
                log.exception("request failed", extra={"path": scope["path"]})
            if is_started:
                raise
            response = error_response(
                error,
                request_id_var.get(),
                v2=is_v2(scope["path"]),
                show_details=self._show_details,
            )
            await response(scope, receive, send)

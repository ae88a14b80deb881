"""Puts what the limit decided on the response, an error's too; routes leave it in the scope."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.security.decisions import Decision

#: Where a route's dependency leaves its decision.
DECISION = "slipway.limit_decision"


class RateLimitHeaders:
    """Adds RateLimit-Policy and RateLimit where a limit was asked and the route did not."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on; the decision is looked for when the response starts."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def limited_send(message: Message) -> None:
            decision: Decision | None = scope.get(DECISION)
            if decision is not None and message["type"] == "http.response.start":
                headers = message["headers"]
                if not any(name == b"ratelimit" for name, _ in headers):
                    message = {**message, "headers": [*headers, *decision.raw_headers]}
            await send(message)

        await self._app(scope, receive, limited_send)

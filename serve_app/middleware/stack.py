"""The middleware as data, outermost first; the order is the order of this list."""

from starlette.middleware import Middleware

from cluster.settings import Settings
from serve_app.middleware.body_limit import BodyBounds, BodyLimit
from serve_app.middleware.cors import cors
from serve_app.middleware.https_redirect import HttpsRedirect
from serve_app.middleware.outermost import Outermost
from serve_app.middleware.rate_limit_headers import RateLimitHeaders
from serve_app.middleware.trusted_hosts import TrustedHosts
from serve_app.middleware.unexpected_errors import UnexpectedErrors


def middleware_stack(settings: Settings) -> list[Middleware]:
    """
    What stands before the routes.

        Outermost         request id, edge proof, security headers; under Serve it has run already
        UnexpectedErrors  the last net
        TrustedHosts      before anything uses the host
        HttpsRedirect     production alone; to a host that was let pass
        RateLimitHeaders  what the routes' limit decided
        CORS              answers preflights
        BodyLimit         the last before the routes, which read the body
    """
    redirect = [Middleware(HttpsRedirect)] if settings.environment == "production" else []
    return [
        Middleware(Outermost, settings=settings),
        Middleware(UnexpectedErrors, show_details=not settings.is_hardened),
        Middleware(TrustedHosts, allowed=tuple(settings.effective_allowed_hosts)),
        *redirect,
        Middleware(RateLimitHeaders),
        cors(settings),
        Middleware(BodyLimit, bounds=BodyBounds.from_settings(settings)),
    ]

"""Which pages of other origins may call us from a browser: exact origins, never ``*``."""

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from cluster.settings import Settings

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
HEADERS = ("Authorization", "Content-Type", "X-API-Key")
#: What a page may read beside the body.
EXPOSED = ("X-Request-ID", "RateLimit", "RateLimit-Policy", "Retry-After", "Location")
PREFLIGHT_CACHE_S = 3600
#: A developer's own pages, on any port.
LOCAL_ORIGINS = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?"


def cors(settings: Settings) -> Middleware:
    """Starlette's CORS middleware as the settings want it; a stray ``*`` is dropped."""
    return Middleware(
        CORSMiddleware,
        allow_origins=tuple(origin for origin in settings.cors_origins if origin != "*"),
        allow_origin_regex=None if settings.is_hardened else LOCAL_ORIGINS,
        allow_methods=METHODS,
        allow_headers=HEADERS,
        allow_credentials=settings.cors_allow_credentials,
        expose_headers=EXPOSED,
        max_age=PREFLIGHT_CACHE_S,
    )

"""Paths that probes call by address and without TLS: no host check, no redirect, no limits."""


def is_health(path: str) -> bool:
    """Whether ``path`` is one of the health routes, under /health or /v2/health."""
    return path == "/health" or path.startswith(("/health/", "/v2/health/"))

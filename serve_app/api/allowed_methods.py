"""The methods that a path takes, over all routes that match it."""

from starlette.routing import Match
from starlette.types import Scope

METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


def allowed_methods(scope: Scope) -> str:
    """
    Value of the Allow header for the request's path; empty where no route matches.

    Each method is tried, since a router that is included in another shows no routes of its own.
    """
    routes = scope["app"].routes
    return ", ".join(
        method
        for method in METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    )

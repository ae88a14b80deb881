"""The methods that a path takes, over all routes that match it."""

from collections.abc import Iterable, Iterator

from starlette.routing import BaseRoute, Match
from starlette.types import Scope


def allowed_methods(scope: Scope) -> str:
    """Value of the Allow header for the request's path; empty where no route matches."""
    methods: set[str] = set()
    for route in _walk(scope["app"].routes):
        match, _ = route.matches(dict(scope))
        if match is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return ", ".join(sorted(methods))


def _walk(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    for route in routes:
        yield route
        yield from _walk(getattr(route, "routes", None) or ())

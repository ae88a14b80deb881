"""A Starlette route that says which one it is, as FastAPI's own do; logs and spans ask for it."""

from starlette.routing import Match, Route
from starlette.types import Scope


class PlainRoute(Route):
    """A route without FastAPI's layers, known to the request it matches."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the path and method are this route's, and what the scope is to hold then."""
        match, child_scope = super().matches(scope)
        return match, {**child_scope, "route": self} if match is not Match.NONE else child_scope

"""What routes ask for: the services, the caller, the caller's address; and the limit on the way."""

from typing import Annotated

from fastapi import Depends, Request

from serve_app.middleware.body_limit import is_upload
from serve_app.middleware.rate_limit_headers import DECISION
from serve_app.security.limits import RouteClass
from serve_app.security.principals import Principal, note_caller
from serve_app.services import Services


def get_services(request: Request) -> Services:
    """The application's services."""
    services: Services = request.app.state.services
    return services


CurrentServices = Annotated[Services, Depends(get_services)]


def route_class(method: str, path: str) -> RouteClass:
    """Which of a caller's buckets an authenticated request counts in."""
    return "upload" if is_upload(method, path) else "other"


async def get_principal(request: Request, services: CurrentServices) -> Principal:
    """
    Who calls, once their limit has let the request pass.

    Raises:
        NotAuthenticated: If nobody we know.
        RateLimited: If too often.
    """
    authorization = request.headers.get("authorization")
    api_key = request.headers.get("x-api-key")
    principal = await services.identities.identify(authorization, api_key)
    note_caller(principal)
    wanted = route_class(request.method, request.scope["path"])
    decision = services.limits.try_take(principal, wanted)
    if decision is None:
        decision = await services.limits.check(principal, wanted)
    request.scope[DECISION] = decision
    return principal


CurrentPrincipal = Annotated[Principal, Depends(get_principal)]


async def get_admin(principal: CurrentPrincipal) -> Principal:
    """
    The caller, who is an administrator.

    Raises:
        NotPermitted: If the role or the key says otherwise.
    """
    principal.require("admin")
    return principal


CurrentAdmin = Annotated[Principal, Depends(get_admin)]


def find_address(request: Request) -> str | None:
    """The client's address as the edge proved it, or the peer's."""
    return request.client.host if request.client else None


ClientAddress = Annotated[str | None, Depends(find_address)]

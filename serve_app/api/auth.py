"""Accounts over HTTP: register, login, refresh, logout, me, password."""

import hashlib
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from cluster.errors import Conflict
from cluster.request_context import request_id_var
from serve_app.api.deps import ClientAddress, CurrentPrincipal, CurrentServices
from serve_app.api.idempotent import Claim, find_key
from serve_app.api.json_body import StrictRoute
from serve_app.api.schemas import (
    Credentials,
    LogoutBody,
    MeAnswer,
    PasswordChange,
    RefreshBody,
    Registration,
    TokenAnswer,
    UserAnswer,
)
from serve_app.middleware.rate_limit_headers import DECISION
from serve_app.registry import idempotency, users
from serve_app.registry.database import Session
from serve_app.registry.users import Account
from serve_app.security.whereabouts import Whereabouts
from serve_app.services import Services

router = APIRouter(prefix="/api/v1/auth", tags=["accounts"], route_class=StrictRoute)


def get_whereabouts(address: ClientAddress) -> Whereabouts:
    """Where the request came from."""
    return Whereabouts(address=address, request_id=request_id_var.get())


Here = Annotated[Whereabouts, Depends(get_whereabouts)]


@router.post("/register", status_code=201, response_model=UserAnswer)
async def register(
    body: Registration, request: Request, where: Here, services: CurrentServices
) -> Response:
    """Make an account."""
    decision = await services.limits.check(where.address, "register")
    request.scope[DECISION] = decision
    key = find_key(request)
    digest = _digest(body)

    def on_created(session: Session, account: Account) -> None:
        if key is None:
            return
        idempotency.begin(session, account.id, key, digest, runner=services.replica_id)
        Claim(user_id=account.id, key=key).finish(
            session, status=201, response=_shown(account), location=_me()
        )

    try:
        account = await services.accounts.register(
            email=body.email,
            password=body.password,
            full_name=body.full_name,
            where=where,
            on_created=on_created,
        )
    except Conflict:
        if key is not None and (replay := await _find_replay(services, body, key, digest)):
            return replay
        raise
    return JSONResponse(_shown(account), 201, headers={"Location": _me()})


@router.post("/login")
async def login(body: Credentials, where: Here, services: CurrentServices) -> TokenAnswer:
    """Sign in."""
    pair = await services.accounts.login(email=body.email, password=body.password, where=where)
    return TokenAnswer.of(pair)


@router.post("/refresh")
async def refresh(body: RefreshBody, where: Here, services: CurrentServices) -> TokenAnswer:
    """Stay signed in; the refresh token is spent."""
    return TokenAnswer.of(await services.accounts.refresh(body.refresh_token, where=where))


@router.post("/logout", status_code=204)
async def logout(body: LogoutBody, where: Here, services: CurrentServices) -> None:
    """Sign out, here or everywhere."""
    await services.accounts.logout(body.refresh_token, where=where, is_everywhere=body.everywhere)


@router.get("/me")
async def me(principal: CurrentPrincipal, services: CurrentServices) -> MeAnswer:
    """Who the credential stands for."""
    account = await services.database.read(partial(users.get_user, user_id=principal.user_id))
    scopes = None if principal.scopes is None else sorted(principal.scopes)
    return MeAnswer(
        **UserAnswer.of(account).model_dump(),
        scopes=scopes,
        key_id=principal.key_id,
        limits=dict(account.limits),
    )


@router.post("/password", status_code=204)
async def change_password(
    body: PasswordChange, principal: CurrentPrincipal, where: Here, services: CurrentServices
) -> None:
    """Choose another password, which ends every session."""
    await services.accounts.password_changes.change(
        principal, current=body.current, new=body.new, where=where
    )


async def _find_replay(
    services: Services, body: Registration, key: str, digest: bytes
) -> Response | None:
    # Only who knows the password may have the first answer again.
    account = await services.accounts.verify(body.email, body.password)
    if account is None:
        return None
    stored = await services.database.read(
        lambda session: idempotency.find(session, account.id, key, digest)
    )
    return Claim(user_id=account.id, key=key, stored=stored).replay


def _digest(body: Registration) -> bytes:
    # The password stays out: a fast hash of it would be worth stealing.
    text = f"POST /api/v1/auth/register\n{body.email.lower()}\n{body.full_name}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _shown(account: Account) -> dict[str, object]:
    return UserAnswer.of(account).model_dump(mode="json")


def _me() -> str:
    return f"{router.prefix}/me"

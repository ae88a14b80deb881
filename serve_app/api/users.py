"""Accounts over HTTP as administrators see and change them."""

import secrets
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from serve_app.api.auth import Here
from serve_app.api.deps import CurrentAdmin, CurrentServices, get_admin
from serve_app.api.json_body import StrictRoute
from serve_app.api.paging import DEFAULT_LIMIT, Limit, Offset
from serve_app.api.schemas import (
    AdminUserAnswer,
    KeyAnswer,
    KeyPage,
    PasswordReset,
    ResetAnswer,
    UserPage,
    UserPatch,
)
from serve_app.api.trail import CurrentTrail
from serve_app.registry import keys, users
from serve_app.registry.database import Session
from serve_app.registry.users import Account
from serve_app.security.principals import Role

router = APIRouter(
    prefix="/api/v1/users",
    tags=["administration"],
    route_class=StrictRoute,
    dependencies=[Depends(get_admin)],
)
#: Bytes of a password that we make: 24 characters.
GENERATED_BYTES = 18


@router.get("")
async def list_users(
    services: CurrentServices,
    limit: Limit = DEFAULT_LIMIT,
    offset: Offset = 0,
    role: Role | None = None,
    is_active: Annotated[bool | None, Query()] = None,
) -> UserPage:
    """Accounts, oldest first."""
    found, total = await services.database.read(
        partial(users.list_users, limit=limit, offset=offset, role=role, is_active=is_active)
    )
    items = [AdminUserAnswer.of(account) for account in found]
    return UserPage(items=items, total=total, limit=limit, offset=offset)


@router.get("/{user_id}")
async def get_user(user_id: str, services: CurrentServices) -> AdminUserAnswer:
    """One account."""
    return AdminUserAnswer.of(
        await services.database.read(partial(users.get_user, user_id=user_id))
    )


@router.patch("/{user_id}")
async def change_user(
    user_id: str, body: UserPatch, trail: CurrentTrail, services: CurrentServices
) -> AdminUserAnswer:
    """Change role, activity or limits; holds everywhere when this returns."""
    limits = None if body.limits is None else body.limits.model_dump(exclude_unset=True)

    def change(session: Session) -> Account:
        account = users.update_user(
            session, user_id, role=body.role, is_active=body.is_active, limits=limits
        )
        changes = body.model_dump(mode="json", exclude_unset=True)
        trail.note(session, "user.update", "user", account.id, **changes)
        return account

    written = await services.database.write(change)
    await services.follower.settle(written.sequence)
    return AdminUserAnswer.of(written.value)


@router.post("/{user_id}/password-reset")
async def reset_password(
    user_id: str,
    admin: CurrentAdmin,
    where: Here,
    services: CurrentServices,
    body: PasswordReset | None = None,
) -> ResetAnswer:
    """Give an account another password, ours if none is sent; its sessions end."""
    chosen = None if body is None else body.new
    new = chosen or secrets.token_urlsafe(GENERATED_BYTES)
    account = await services.accounts.password_changes.reset(admin, user_id, new, where=where)
    return ResetAnswer(id=account.id, password=None if chosen else new)


@router.get("/{user_id}/api-keys")
async def list_keys(
    user_id: str, services: CurrentServices, limit: Limit = DEFAULT_LIMIT, offset: Offset = 0
) -> KeyPage:
    """An account's live keys."""

    def read(session: Session) -> tuple[list[keys.KeyRecord], int]:
        account = users.get_user(session, user_id)
        return keys.list_keys(session, account.id, limit=limit, offset=offset)

    found, total = await services.database.read(read)
    items = [KeyAnswer.of(key) for key in found]
    return KeyPage(items=items, total=total, limit=limit, offset=offset)

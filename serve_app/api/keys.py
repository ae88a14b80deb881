"""API keys over HTTP: make one, list them, replace one, revoke one."""

from datetime import UTC, datetime, timedelta
from functools import partial

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from cluster.errors import Fault, InvalidInput, NotPermitted
from serve_app.api.deps import CurrentServices
from serve_app.api.json_body import StrictRoute
from serve_app.api.paging import DEFAULT_LIMIT, Limit, Offset
from serve_app.api.schemas import (
    KeyAnswer,
    KeyPage,
    KeyRequest,
    KeyRotation,
    NewKeyAnswer,
    RotatedKeyAnswer,
)
from serve_app.api.trail import CurrentTrail
from serve_app.registry import keys
from serve_app.registry.database import Session
from serve_app.registry.key_rotation import RotatedKeys, rotate_key
from serve_app.registry.keys import KeyRecord, KeySpec
from serve_app.security.api_keys import make_key
from serve_app.security.principals import DEFAULT_SCOPES, Principal
from serve_app.services import Services

router = APIRouter(prefix="/api/v1/api-keys", tags=["keys"], route_class=StrictRoute)


@router.post("", status_code=201, response_model=NewKeyAnswer)
async def create_key(body: KeyRequest, trail: CurrentTrail, services: CurrentServices) -> Response:
    """Make a key; it is shown this once, and a repeated request makes no second answer."""
    principal = trail.principal
    principal.require("keys")
    spec = _spec(body, principal, services)
    new = make_key()
    max_keys = principal.limit("max_keys", services.settings.max_keys_per_user)

    def create(session: Session) -> KeyRecord:
        models = spec.models
        if models is not None:
            models = keys.resolve_models(session, principal.user_id, models)
        _check_models(principal, models)
        expires_at = _earliest(spec.expires_at, _own_end(session, principal))
        record = keys.create_key(
            session,
            principal.user_id,
            KeySpec(
                name=spec.name,
                scopes=spec.scopes,
                models=models,
                rate_limit=spec.rate_limit,
                expires_at=expires_at,
            ),
            prefix=new.prefix,
            key_sha256=new.sha256,
            max_keys=max_keys,
        )
        details = {"name": record.name, "prefix": record.prefix, "scopes": list(record.scopes)}
        trail.note(session, "key.create", "key", record.id, **details)
        return record

    written = await services.database.write(create)
    await services.follower.settle(written.sequence)
    answer = NewKeyAnswer.of(written.value, key=new.text)
    location = f"{router.prefix}/{answer.id}"
    return JSONResponse(answer.model_dump(mode="json"), 201, headers={"Location": location})


@router.get("")
async def list_keys(
    trail: CurrentTrail,
    services: CurrentServices,
    limit: Limit = DEFAULT_LIMIT,
    offset: Offset = 0,
) -> KeyPage:
    """The caller's live keys."""
    trail.principal.require("keys")
    found, total = await services.database.read(
        partial(keys.list_keys, user_id=trail.principal.user_id, limit=limit, offset=offset)
    )
    items = [KeyAnswer.of(key) for key in found]
    return KeyPage(items=items, total=total, limit=limit, offset=offset)


@router.post("/{key_id}/rotate", status_code=201, response_model=RotatedKeyAnswer)
async def rotate(
    key_id: str,
    trail: CurrentTrail,
    services: CurrentServices,
    body: KeyRotation | None = None,
) -> Response:
    """Replace a key of the caller's by a new one, shown this once; both hold for the overlap."""
    principal = trail.principal
    principal.require("keys")
    new = make_key()
    overlap = timedelta(seconds=(body or KeyRotation()).overlap_s)

    def replace(session: Session) -> RotatedKeys:
        old = keys.get_key(session, key_id, owner_id=principal.user_id)
        for scope in old.scopes:
            # Nobody gets hold of what they do not have.
            principal.require(scope)
        _check_models(principal, old.models)
        _check_end(session, principal, old)
        rotated = rotate_key(
            session,
            old.id,
            owner_id=principal.user_id,
            overlap=overlap,
            prefix=new.prefix,
            key_sha256=new.sha256,
            rate_limit=_least(old.rate_limit, principal.rate_limit),
            max_keys=principal.limit("max_keys", services.settings.max_keys_per_user),
        )
        details = {"name": old.name, "replaces": old.id, "overlap_s": int(overlap.total_seconds())}
        trail.note(session, "key.rotate", "key", rotated.new.id, **details)
        return rotated

    written = await services.database.write(replace)
    await services.follower.settle(written.sequence)
    rotated = written.value
    answer = RotatedKeyAnswer.of(
        rotated.new, key=new.text, replaces=rotated.old.id, old_expires_at=rotated.old.expires_at
    )
    location = f"{router.prefix}/{answer.id}"
    return JSONResponse(answer.model_dump(mode="json"), 201, headers={"Location": location})


@router.delete("/{key_id}", status_code=204)
async def revoke_key(key_id: str, trail: CurrentTrail, services: CurrentServices) -> None:
    """Revoke a key of the caller's; administrators, anybody's. It holds nowhere any more."""
    principal = trail.principal
    principal.require("keys")
    owner_id = None if principal.is_admin else principal.user_id

    def revoke(session: Session) -> None:
        record = keys.get_key(session, key_id, owner_id=owner_id)
        _check_revocable(principal, record)
        keys.revoke_key(session, key_id, owner_id=owner_id)
        details = {"name": record.name, "prefix": record.prefix, "owner_id": record.user_id}
        trail.note(session, "key.revoke", "key", record.id, **details)

    written = await services.database.write(revoke)
    await services.follower.settle(written.sequence)


def _spec(body: KeyRequest, principal: Principal, services: Services) -> KeySpec:
    scopes = tuple(dict.fromkeys(body.scopes or DEFAULT_SCOPES))
    for scope in scopes:
        # Nobody hands out what they do not have.
        principal.require(scope)
    if body.expires_at is not None and body.expires_at <= datetime.now(UTC):
        fault = Fault(path="/expires_at", code="past", message="lies in the past")
        raise InvalidInput("expires_at lies in the past: choose a later time", details=(fault,))
    return KeySpec(
        name=body.name,
        scopes=scopes,
        models=None if body.models is None else tuple(body.models),
        rate_limit=_effective_rate_limit(body.rate_limit, principal, services),
        expires_at=body.expires_at,
    )


def _effective_rate_limit(
    wanted: int | None, principal: Principal, services: Services
) -> int | None:
    if wanted is None:
        # A key that is limited does not get rid of its limit by making another.
        return principal.rate_limit
    most = wanted if principal.is_admin else services.settings.key_rate_limit_max
    if principal.rate_limit is not None:
        most = min(most, principal.rate_limit)
    return min(wanted, most)


def _check_revocable(principal: Principal, record: KeyRecord) -> None:
    if principal.is_session or record.id == principal.key_id:
        # Whoever signed in may end every key of theirs, one that outlived their role too.
        return
    if not principal.is_admin:
        for scope in record.scopes:
            # A key that leaks does not take those down that may do more.
            principal.require(scope)
    _check_models(principal, record.models)


def _check_models(principal: Principal, models: tuple[str, ...] | None) -> None:
    if principal.models is None:
        return
    if models is None or not principal.models.issuperset(models):
        raise NotPermitted(
            "this API key is tied to models and has no say over keys for others: name its models"
        )


def _own_end(session: Session, principal: Principal) -> datetime | None:
    """When the caller's own key ends; ``None`` for one without end, and for a session."""
    if principal.key_id is None:
        return None
    return keys.get_key(session, principal.key_id, owner_id=principal.user_id).expires_at


def _earliest(wanted: datetime | None, own: datetime | None) -> datetime | None:
    # A key that ends does not outlive itself in another.
    return min((end for end in (wanted, own) if end is not None), default=None)


def _check_end(session: Session, principal: Principal, old: KeyRecord) -> None:
    own = _own_end(session, principal)
    if own is not None and (old.expires_at is None or old.expires_at > own):
        raise NotPermitted(
            "this API key ends before the one to replace: sign in, or use a key that holds longer"
        )


def _least(limit: int | None, own: int | None) -> int | None:
    return min((each for each in (limit, own) if each is not None), default=None)

"""Aliases over HTTP: movable names; an unversioned call uses ``production``."""

from typing import Annotated

from fastapi import APIRouter, Path
from fastapi.responses import Response

from serve_app.api.deps import CurrentPrincipal, CurrentServices
from serve_app.api.json_body import StrictRoute
from serve_app.api.model_answers import AliasAnswer, AliasList
from serve_app.api.model_bodies import AliasTarget
from serve_app.api.promoting import move_alias
from serve_app.api.trail import CurrentTrail
from serve_app.registry import aliases
from serve_app.registry.database import Session

router = APIRouter(
    prefix="/api/v1/models/{model}/aliases", tags=["aliases"], route_class=StrictRoute
)


#: ``check_alias`` refuses the rest in words of its own.
AliasName = Annotated[
    str,
    Path(
        json_schema_extra={
            "pattern": "^([a-z][a-z0-9._-]*|[0-9]+[a-z._-][a-z0-9._-]*)$",
            "maxLength": 64,
        }
    ),
]


@router.get("")
async def list_aliases(
    model: str, principal: CurrentPrincipal, services: CurrentServices
) -> AliasList:
    """Every alias of a model."""
    principal.require("models:read")
    found = await services.database.read(
        lambda session: aliases.list_aliases(session, principal, model)
    )
    return AliasList(items=[AliasAnswer.of(record) for record in found])


@router.put("/{alias}")
async def set_alias(
    model: str,
    alias: AliasName,
    body: AliasTarget,
    trail: CurrentTrail,
    services: CurrentServices,
) -> AliasAnswer:
    """Point an alias at a version; `production` moves once the version is loaded."""
    trail.principal.require("models:write")
    record = await move_alias(services, trail, model, alias, body.version)
    return AliasAnswer.of(record)


@router.delete("/{alias}", status_code=204)
async def delete_alias(
    model: str, alias: str, trail: CurrentTrail, services: CurrentServices
) -> Response:
    """Remove an alias; the version stays."""
    trail.principal.require("models:write")

    def remove(session: Session) -> None:
        record = aliases.delete_alias(session, trail.principal, model, alias)
        trail.note(
            session,
            "alias.delete",
            "model",
            record.model_id,
            alias=record.alias,
            version=record.version,
        )

    written = await services.database.write(remove)
    await services.follower.settle(written.sequence)
    return Response(status_code=204)

"""Models over HTTP: upload the first version, list, look at, change, hand over, delete."""

from collections.abc import Mapping
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from cluster.errors import Fault, InvalidInput, ModelConflict, NotPermitted
from serve_app.api.deps import CurrentPrincipal, CurrentServices
from serve_app.api.idempotent import Claim, claimed
from serve_app.api.json_body import StrictRoute
from serve_app.api.model_answers import ModelAnswer, ModelPage, UploadAnswer
from serve_app.api.model_bodies import ModelPatch, NewOwner
from serve_app.api.paging import DEFAULT_LIMIT, Limit, Offset
from serve_app.api.trail import CurrentTrail, Trail
from serve_app.api.uploading import answer, finish, multipart_body, receive, vet
from serve_app.api.validation import pointer
from serve_app.registry import models, versions
from serve_app.registry.database import Session
from serve_app.registry.names import check_model_name
from serve_app.registry.quotas import Quota, check_quota
from serve_app.registry.records import ModelRecord, UploadRecord
from serve_app.security.principals import Principal
from serve_app.services import Services
from serve_app.uploads import Upload

router = APIRouter(prefix="/api/v1/models", tags=["models"], route_class=StrictRoute)
#: ``promote`` is taken and changes nothing: the first version is production.
PARTS = ("name", "description", "promote", "examples")


@router.post(
    "",
    status_code=201,
    response_model=UploadAnswer,
    openapi_extra=multipart_body(PARTS, required=("name",)),
)
async def create_model(
    request: Request, trail: CurrentTrail, services: CurrentServices
) -> Response:
    """Upload a file as a new model; its version 1 becomes production."""
    principal = trail.principal
    principal.require("models:write")
    if principal.models is not None:
        raise NotPermitted(
            "this API key is tied to models and cannot make another: use a key without `models`"
        )
    async with receive(request, services, principal, parts=PARTS) as upload:
        user_id = principal.user_id
        async with claimed(request, services, user_id, upload.request_sha256) as claim:
            return claim.replay or await _create(services, trail, upload, claim)


async def _create(services: Services, trail: Trail, upload: Upload, claim: Claim) -> Response:
    name = _name_of(upload)
    quota = Quota.from_settings(services.settings)
    owner = trail.principal.user_id
    async with services.uploads.step():
        await services.database.read(
            lambda session: _refuse_early(session, owner, name, upload.size_bytes, quota)
        )
    new = await vet(services, trail, upload, model=name)

    def store(session: Session) -> UploadRecord:
        record = models.create_model_with_version(
            session,
            owner_id=owner,
            name=name,
            new=new,
            quota=quota,
            description=upload.fields.get("description"),
        )
        trail.note(
            session,
            "model.upload",
            "model",
            record.model.id,
            name=name,
            version=record.version.number,
            sha256=new.sha256,
            format=new.format,
        )
        finish(session, claim, record)
        return record

    async with services.uploads.step():
        written = await services.database.write(store)
    await services.follower.settle(written.sequence)
    return answer(written.value)


@router.get("", response_model=ModelPage)
async def list_models(
    principal: CurrentPrincipal,
    services: CurrentServices,
    limit: Limit = DEFAULT_LIMIT,
    offset: Offset = 0,
    status: Annotated[Literal["ready", "quarantined"] | None, Query()] = None,
) -> Response:
    """Your own models, newest first."""
    principal.require("models:read")

    async def fill() -> bytes:
        page = await services.database.read(
            lambda session: models.list_models(
                session,
                owner_id=principal.user_id,
                limit=limit,
                offset=offset,
                status=status,
                ids=principal.models,
            )
        )
        body = ModelPage(
            items=[ModelAnswer.of(record, is_managed=True) for record in page.items],
            total=page.total,
            limit=limit,
            offset=offset,
        )
        return body.model_dump_json().encode()

    tied = None if principal.models is None else sorted(principal.models)
    body = await services.model_lists.get(principal.user_id, (limit, offset, status, tied), fill)
    return Response(body, media_type="application/json")


@router.get("/{model}")
async def get_model(
    model: str, principal: CurrentPrincipal, services: CurrentServices
) -> ModelAnswer:
    """A model by a name of your own, or by id."""
    principal.require("models:read")
    record = await services.database.read(
        lambda session: models.get_model(session, principal, model)
    )
    return _answer(record, principal)


@router.patch("/{model}")
async def update_model(
    model: str, body: ModelPatch, trail: CurrentTrail, services: CurrentServices
) -> ModelAnswer:
    """Change what is given; the rest stays."""
    principal = trail.principal
    principal.require("models:write")
    changes = body.changes()

    def change(session: Session) -> ModelRecord:
        _check_bounds(session, principal, model, changes.get("feature_bounds", {}))
        record = models.update_model(session, principal, model, changes)
        trail.note(session, "model.update", "model", record.id, members=sorted(changes))
        return record

    written = await services.database.write(change)
    await services.follower.settle(written.sequence)
    return _answer(written.value, principal)


@router.put("/{model}/owner")
async def transfer_model(
    model: str, body: NewOwner, trail: CurrentTrail, services: CurrentServices
) -> ModelAnswer:
    """Hand a model over to another account; administrators alone."""
    principal = trail.principal
    principal.require("admin")

    def transfer(session: Session) -> ModelRecord:
        before = models.get_owned_model(session, principal, model)
        record = models.transfer_ownership(session, principal, before.id, body.owner)
        names = {"from": before.owner_email, "to": record.owner_email}
        trail.note(session, "model.transfer", "model", record.id, name=record.name, **names)
        return record

    written = await services.database.write(transfer)
    await services.follower.settle(written.sequence)
    return _answer(written.value, principal)


@router.delete("/{model}", status_code=204)
async def delete_model(model: str, trail: CurrentTrail, services: CurrentServices) -> Response:
    """Delete a model with all of its versions; its name is free at once."""
    trail.principal.require("models:write")

    def remove(session: Session) -> None:
        record = models.delete_model(session, trail.principal, model)
        trail.note(session, "model.delete", "model", record.id, name=record.name)

    written = await services.database.write(remove)
    await services.follower.settle(written.sequence)
    return Response(status_code=204)


def _name_of(upload: Upload) -> str:
    name = upload.fields.get("name")
    if name is None:
        raise InvalidInput(
            "the part 'name' is missing: name the model",
            details=(Fault(path="/name", code="missing", message="the part is missing"),),
        )
    return check_model_name(name)


def _refuse_early(
    session: Session, owner_id: str, name: str, size_bytes: int, quota: Quota
) -> None:
    """Refuse before vetting what storing would refuse after it."""
    if models.is_name_taken(session, owner_id, name):
        raise ModelConflict(
            f"there is a model named {name!r} already: upload a version to it, or choose another "
            "name",
            model=name,
        )
    check_quota(session, owner_id, quota, new_models=1, new_bytes=size_bytes)


def _check_bounds(
    session: Session, principal: Principal, model: str, bounds: Mapping[str, object]
) -> None:
    """Refuse bounds of features that the newest version does not have."""
    latest = models.get_model(session, principal, model).latest
    if not bounds or latest is None:
        return
    found = versions.get_version(session, principal, model, latest.number)
    known = {feature["name"] for feature in found.signature["features"]}
    unknown = [name for name in bounds if name not in known]
    if unknown:
        raise InvalidInput(
            f"the model has no feature {unknown[0][:64]!r}: see its signature for their names",
            details=tuple(
                Fault(path=pointer(("feature_bounds", name)), code="unknown", message="no feature")
                for name in unknown
            ),
        )


def _answer(record: ModelRecord, principal: Principal) -> ModelAnswer:
    is_managed = principal.role == "admin" or record.owner_id == principal.user_id
    return ModelAnswer.of(record, is_managed=is_managed)

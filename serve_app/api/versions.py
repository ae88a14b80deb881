"""Versions over HTTP: upload the next one, look at them, download, release, delete."""

from collections.abc import Iterator

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from cluster.errors import NotPermitted
from serve_app.api.deps import CurrentPrincipal, CurrentServices
from serve_app.api.idempotent import Claim, claimed
from serve_app.api.model_answers import UploadAnswer, VersionAnswer, VersionListed, VersionPage
from serve_app.api.paging import DEFAULT_LIMIT, Limit, Offset
from serve_app.api.promoting import move_alias
from serve_app.api.trail import CurrentTrail, Trail
from serve_app.api.uploading import answer, finish, multipart_body, receive, vet
from serve_app.registry import aliases, models, versions
from serve_app.registry.database import Session
from serve_app.registry.names import PRODUCTION
from serve_app.registry.quotas import Quota, check_quota
from serve_app.registry.records import (
    ModelRecord,
    NewVersion,
    UploadRecord,
    VersionRecord,
)
from serve_app.services import Services
from serve_app.uploads import Upload

router = APIRouter(prefix="/api/v1/models/{model}/versions", tags=["versions"])
PARTS = ("promote", "examples")
SUFFIXES = {"skops": "skops", "onnx": "onnx", "joblib": "joblib", "pickle": "pkl"}
CHUNK_BYTES = 1024 * 1024


@router.post(
    "",
    status_code=201,
    response_model=UploadAnswer,
    openapi_extra=multipart_body(PARTS, required=()),
)
async def create_version(
    model: str, request: Request, trail: CurrentTrail, services: CurrentServices
) -> Response:
    """Upload a file as the model's next version; `promote` makes it production."""
    principal = trail.principal
    principal.require("models:write")
    async with receive(request, services, principal, parts=PARTS) as upload:
        user_id = principal.user_id
        async with claimed(request, services, user_id, upload.request_sha256) as claim:
            return claim.replay or await _create(model, services, trail, upload, claim)


async def _create(
    model: str, services: Services, trail: Trail, upload: Upload, claim: Claim
) -> Response:
    principal = trail.principal
    quota = Quota.from_settings(services.settings)

    def look(session: Session) -> tuple[ModelRecord, VersionRecord | None]:
        record = models.get_owned_model(session, principal, model)
        same = versions.find_version_by_sha(session, principal, model, upload.sha256)
        if same is None:
            check_quota(session, record.owner_id, quota, new_bytes=upload.size_bytes)
        return record, same

    async with services.uploads.step():
        owned, same = (await services.database.write(look)).value
    if same is None:
        new = await vet(services, trail, upload, model=owned.id)
        made = await _store(owned.id, new, services, trail, None if upload.promote else claim)
    else:
        made = UploadRecord(model=owned, version=same, is_new=False)
    if upload.promote:
        # The answer is stored once production has moved: a repeat after a failure moves it.
        await move_alias(
            services,
            trail,
            owned.id,
            PRODUCTION,
            made.version.number,
            also=lambda session: finish(session, claim, made),
        )
    return answer(made)


async def _store(
    model: str, new: NewVersion, services: Services, trail: Trail, claim: Claim | None
) -> UploadRecord:
    quota = Quota.from_settings(services.settings)

    def store(session: Session) -> UploadRecord:
        made = versions.add_version(session, trail.principal, model, new, quota=quota)
        if made.is_new:
            trail.note(
                session,
                "version.upload",
                "model",
                made.model.id,
                version=made.version.number,
                sha256=new.sha256,
                format=new.format,
            )
        if claim is not None:
            finish(session, claim, made)
        return made

    async with services.uploads.step():
        written = await services.database.write(store)
    await services.follower.settle(written.sequence)
    return written.value


@router.get("")
async def list_versions(
    model: str,
    principal: CurrentPrincipal,
    services: CurrentServices,
    limit: Limit = DEFAULT_LIMIT,
    offset: Offset = 0,
) -> VersionPage:
    """A model's versions, newest first."""
    principal.require("models:read")

    def read(session: Session) -> VersionPage:
        page = versions.list_versions(session, principal, model, limit=limit, offset=offset)
        named = aliases.list_aliases(session, principal, model)
        return VersionPage(
            items=[VersionListed.of(record, named) for record in page.items],
            total=page.total,
            limit=limit,
            offset=offset,
        )

    return await services.database.read(read)


@router.get("/{version}")
async def get_version(
    model: str, version: str, principal: CurrentPrincipal, services: CurrentServices
) -> VersionAnswer:
    """A version by number or alias."""
    principal.require("models:read")

    def read(session: Session) -> VersionAnswer:
        record = models.get_model(session, principal, model)
        found = versions.get_version(session, principal, model, version)
        is_managed = principal.role == "admin" or record.owner_id == principal.user_id
        return VersionAnswer.of_record(found, record.aliases, is_managed=is_managed)

    return await services.database.read(read)


@router.delete("/{version}", status_code=204)
async def delete_version(
    model: str, version: str, trail: CurrentTrail, services: CurrentServices
) -> Response:
    """Delete a version that no alias names."""
    trail.principal.require("models:write")

    def remove(session: Session) -> None:
        record = versions.delete_version(session, trail.principal, model, version)
        trail.note(session, "version.delete", "model", record.model_id, version=record.number)

    written = await services.database.write(remove)
    await services.follower.settle(written.sequence)
    return Response(status_code=204)


@router.get(
    "/{version}/artifact",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
async def download(
    model: str,
    version: str,
    request: Request,
    principal: CurrentPrincipal,
    services: CurrentServices,
) -> Response:
    """The file as it was uploaded, for the model's owner."""
    principal.require("models:read")

    def read(session: Session) -> tuple[ModelRecord, VersionRecord]:
        record = models.get_model(session, principal, model)
        return record, versions.get_version(session, principal, model, version)

    owned, found = await services.database.read(read)
    if principal.role != "admin" and owned.owner_id != principal.user_id:
        raise NotPermitted(f"only the owner of model {owned.name!r} may download its files")
    name = f"{owned.name}-{found.number}.{SUFFIXES[found.format]}"
    headers = {
        "ETag": f'"{found.sha256}"',
        # A name of ours: letters, digits, dots and dashes alone.
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Length": str(found.size_bytes),
    }
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers={"ETag": headers["ETag"]})
    content = await services.loaders.fetch(found.sha256, found.size_bytes)
    return StreamingResponse(
        _chunks(content), media_type="application/octet-stream", headers=headers
    )


@router.post("/{version}/release")
async def release_version(
    model: str, version: str, trail: CurrentTrail, services: CurrentServices
) -> VersionAnswer:
    """Take a version out of quarantine."""
    principal = trail.principal
    principal.require("models:write")

    def release(session: Session) -> VersionAnswer:
        found = versions.release_version(session, principal, model, version)
        trail.note(session, "version.release", "model", found.model_id, version=found.number)
        named = aliases.list_aliases(session, principal, model)
        return VersionAnswer.of_record(found, named, is_managed=True)

    written = await services.database.write(release)
    await services.follower.settle(written.sequence)
    return written.value


def _chunks(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), CHUNK_BYTES):
        yield content[start : start + CHUNK_BYTES]

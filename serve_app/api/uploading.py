"""What both upload routes share: the multipart body in, the 201 or 200 out, refusals on record."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse

from cluster.contracts import JsonObject
from cluster.errors import NotPermitted, UploadRefused
from serve_app.api.idempotent import Claim
from serve_app.api.model_answers import UploadAnswer
from serve_app.api.trail import Trail
from serve_app.registry.database import Session
from serve_app.registry.records import NewVersion, UploadRecord
from serve_app.security.principals import Principal
from serve_app.services import Services
from serve_app.uploads import Upload

PARTS: dict[str, dict[str, Any]] = {
    "name": {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$"},
    "description": {"type": "string", "maxLength": 2000},
    "promote": {"type": "boolean", "default": False},
    "examples": {
        "type": "string",
        "description": "JSON: {instances, predictions?, method?}; at most 100 rows and 1 MiB.",
    },
}


def multipart_body(parts: tuple[str, ...], *, required: tuple[str, ...]) -> dict[str, Any]:
    """The OpenAPI description of a form with a file and these parts."""
    file = {"type": "string", "format": "binary", "description": "skops, ONNX, joblib or pickle."}
    schema = {
        "type": "object",
        "required": ["file", *required],
        "properties": {"file": file} | {part: PARTS[part] for part in parts},
        "additionalProperties": False,
    }
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    }


@asynccontextmanager
async def receive(
    request: Request, services: Services, principal: Principal, *, parts: tuple[str, ...]
) -> AsyncIterator[Upload]:
    """The arrived file, in one of the caller's places for uploads; see ``Uploads.receive``."""
    length = request.headers.get("content-length", "")
    with services.uploads.slot(principal.user_id):
        async with services.uploads.receive(
            request.stream(),
            content_type=request.headers.get("content-type", ""),
            content_length=int(length) if length.isascii() and length.isdigit() else None,
            parts=parts,
            admit=partial(services.vetting.require_room, principal),
        ) as upload:
            yield upload


async def vet(services: Services, trail: Trail, upload: Upload, *, model: str) -> NewVersion:
    """
    The verdict on the file, which the Loader has stored when this returns.

    Args:
        services: Of this replica.
        trail: Of the request.
        upload: The file.
        model: What the audit row names: a model's id, or the name of one to be made.

    Raises:
        UploadRefused, NotPermitted: With an audit row that says which gate refused and why.
    """
    try:
        return await services.vetting.vet(upload, trail.principal)
    except (UploadRefused, NotPermitted) as refusal:
        named = ("gate", "reason", "name", "format")
        details: JsonObject = {
            key: str(refusal.context[key]) for key in named if key in refusal.context
        }
        details |= {
            "code": refusal.public_code,
            "error": refusal.message[:500],
            "sha256": upload.sha256,
            "size_bytes": upload.size_bytes,
        }
        async with services.uploads.step():
            await services.database.write(
                lambda session: trail.note(session, "upload.refused", "model", model, **details)
            )
        raise


def finish(session: Session, claim: Claim, record: UploadRecord) -> None:
    """Store the answer of an upload, for a repeat of the request."""
    claim.finish(
        session,
        status=201 if record.is_new else 200,
        response=answer_body(record),
        location=location_of(record) if record.is_new else None,
    )


def answer(record: UploadRecord) -> JSONResponse:
    """201 with the new version's Location, or 200 where those bytes were there already."""
    if not record.is_new:
        return JSONResponse(answer_body(record))
    return JSONResponse(answer_body(record), 201, headers={"Location": location_of(record)})


def answer_body(record: UploadRecord) -> JsonObject:
    """The body of both answers."""
    return UploadAnswer.of(record).model_dump(mode="json", exclude_none=True)


def location_of(record: UploadRecord) -> str:
    """Path of the version."""
    return f"/api/v1/models/{record.model.id}/versions/{record.version.number}"

"""The audit trail over HTTP, for administrators: filtered pages, and all of it as JSON lines."""

from collections.abc import AsyncIterator
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from serve_app.api.deps import CurrentServices, get_admin
from serve_app.api.paging import DEFAULT_LIMIT, LIMIT_MAX, OFFSET_MAX
from serve_app.api.schemas import Page
from serve_app.api.timestamps import Timestamp
from serve_app.registry import audit
from serve_app.registry.audit import AuditFilter, AuditRecord

router = APIRouter(
    prefix="/api/v1/audit", tags=["administration"], dependencies=[Depends(get_admin)]
)
#: PostgreSQL has no NUL in texts, hence no event with one.
_Word = Annotated[str | None, Field(max_length=254, pattern=r"^[^\x00]*$")]


class AuditQuery(BaseModel):
    """Which events are asked for."""

    model_config = ConfigDict(extra="forbid")

    actor: _Word = Field(None, description="E-mail address or id.")
    action: _Word = Field(None, description="As `model.upload`; or a noun for all of its verbs.")
    target_type: _Word = None
    target_id: _Word = None
    since: Timestamp | None = Field(None, description="Inclusive.")
    until: Timestamp | None = Field(None, description="Exclusive.")

    def to_filter(self) -> AuditFilter:
        """The same for the registry."""
        return AuditFilter(
            actor=self.actor,
            action=self.action,
            target_type=self.target_type,
            target_id=self.target_id,
            since=self.since,
            until=self.until,
        )


class AuditPageQuery(AuditQuery):
    """Which events, and which page of them."""

    limit: int = Field(DEFAULT_LIMIT, ge=1, le=LIMIT_MAX)
    offset: int = Field(0, ge=0, le=OFFSET_MAX)


class AuditAnswer(BaseModel):
    """One audit event."""

    id: int
    at: datetime
    actor_id: str | None
    actor: str
    action: str
    target_type: str
    target_id: str
    address: str | None
    request_id: str | None
    details: dict[str, Any]

    @classmethod
    def of(cls, event: AuditRecord) -> Self:
        """The answer for an event."""
        return cls(**{name: getattr(event, name) for name in cls.model_fields})


class AuditPage(Page):
    """One page of events."""

    items: list[AuditAnswer]


@router.get("")
async def list_events(
    services: CurrentServices, query: Annotated[AuditPageQuery, Query()]
) -> AuditPage:
    """Events, newest first."""
    page = await services.database.read(
        partial(audit.list_events, wanted=query.to_filter(), limit=query.limit, offset=query.offset)
    )
    items = [AuditAnswer.of(event) for event in page.items]
    return AuditPage(items=items, total=page.total, limit=page.limit, offset=page.offset)


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {}}}},
)
async def export_events(
    services: CurrentServices, query: Annotated[AuditQuery, Query()]
) -> StreamingResponse:
    """Events as JSON lines, oldest first."""
    lines = audit.export_events(services.database, query.to_filter())
    # Asked before the answer begins: what cannot be read at all is an error, not half an answer.
    first = await anext(lines, b"")
    headers = {"Content-Disposition": 'attachment; filename="audit.jsonl"'}
    return StreamingResponse(
        _chained(first, lines), media_type="application/x-ndjson", headers=headers
    )


async def _chained(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for line in rest:
        yield line

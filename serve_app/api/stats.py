"""What a model did lately, by version: requests, errors, latencies."""

from typing import Self

from fastapi import APIRouter
from pydantic import BaseModel

from serve_app.api.deps import CurrentPrincipal, CurrentServices
from serve_app.registry import stats
from serve_app.registry.stats import Tally, Window

router = APIRouter(prefix="/api/v1/models/{model}/stats", tags=["stats"])


class Figures(BaseModel):
    """Counts and latencies; latencies are null without requests."""

    requests: int
    errors: int
    p50_ms: float | None
    p95_ms: float | None

    @classmethod
    def of(cls, tally: Tally) -> Self:
        """The figures of one tally."""
        return cls(
            requests=tally.requests,
            errors=tally.errors,
            p50_ms=tally.p50_ms,
            p95_ms=tally.p95_ms,
        )


class Period(Figures):
    """All versions together, and each that was called."""

    by_version: dict[str, Figures]

    @classmethod
    def of_window(cls, window: Window) -> Self:
        """The figures of one stretch of time."""
        return cls(
            **Figures.of(window.total).model_dump(),
            by_version={
                str(number): Figures.of(tally) for number, tally in window.by_version.items()
            },
        )


class StatsAnswer(Period):
    """The last day, with the last hour and the last day apart."""

    last_hour: Period
    last_day: Period


@router.get("")
async def get_stats(
    model: str, principal: CurrentPrincipal, services: CurrentServices
) -> StatsAnswer:
    """Requests, errors and latencies of the last hour and the last day."""
    principal.require("models:read")
    found = await services.database.read(
        lambda session: stats.model_stats(session, principal, model)
    )
    day = Period.of_window(found.last_day)
    return StatsAnswer(
        **day.model_dump(), last_hour=Period.of_window(found.last_hour), last_day=day
    )

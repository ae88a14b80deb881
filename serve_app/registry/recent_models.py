"""Which models are in use, by what replicas counted."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

#: The most that are worth knowing beforehand.
MOST_RECENT = 200
_RECENT = text(
    "SELECT models.owner_id, models.name FROM models JOIN"
    " (SELECT model_id, sum(requests) AS requests FROM prediction_stats"
    " WHERE minute > now() - interval '1 hour' GROUP BY 1) AS used ON used.model_id = models.id"
    " WHERE models.deleted_at IS NULL ORDER BY used.requests DESC LIMIT :limit"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """A model's owner as the registry looks at callers: with no rights but their own."""

    user_id: str
    is_admin: bool = False
    models: frozenset[str] | None = None


def recent_models(session: Session) -> list[tuple[Owner, str]]:
    """Owner and name of the models that were asked within the last hour, the busiest first."""
    rows = session.execute(_RECENT, {"limit": MOST_RECENT})
    return [(Owner(user_id=str(row.owner_id)), row.name) for row in rows]

"""What live versions answered when they were uploaded, to be asked again after a restore."""

from dataclasses import dataclass

from sqlalchemy import text

from cluster.contracts import Examples, JsonObject
from serve_app.registry.backup_rows import connected

_LIVE = text(
    "SELECT m.name, v.number, v.sha256, v.size_bytes, v.report -> 'canary' AS canary, v.examples"
    "  FROM model_versions v JOIN models m ON m.id = v.model_id"
    " WHERE v.deleted_at IS NULL AND m.deleted_at IS NULL AND v.status = 'ready'"
    " ORDER BY v.created_at DESC LIMIT :limit"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedAnswers:
    """One version and what it answered."""

    #: ``<name> version <number>``.
    label: str
    sha256: str
    size_bytes: int
    #: Rows and answers; empty if none were recorded.
    canary: JsonObject
    examples: Examples | None

    @property
    def predictions(self) -> int:
        """Recorded rows, a method counting once."""
        answers = self.canary.get("answers", {})
        expected = self.examples.predictions if self.examples else None
        return max((len(rows) for rows in answers.values()), default=0) + len(expected or ())


def recorded_answers(url: str, *, limit: int) -> list[RecordedAnswers]:
    """
    The newest live versions, at most ``limit``.

    Raises:
        RegistryUnavailable: If the server cannot be reached.
    """
    with connected(url, "slipway-restore") as connection:
        rows = connection.execute(_LIVE, {"limit": limit}).all()
    return [
        RecordedAnswers(
            label=f"{row.name} version {row.number}",
            sha256=row.sha256,
            size_bytes=row.size_bytes,
            canary=row.canary or {},
            examples=None if row.examples is None else Examples(**row.examples),
        )
        for row in rows
    ]

"""
What each version did by the minute, as the model's owner gets to see it.

Counted in process, written every ten seconds off the hot path; a minute is the one in which the
count was written.
"""

import asyncio
import logging
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from cluster.errors import PlatformError
from serve_app.registry.database import Database
from serve_app.registry.latency import BUCKETS, bucket_of, quantile_ms
from serve_app.registry.visibility import Viewer, get_row

logger = logging.getLogger(__name__)

FLUSH_PERIOD_S = 10.0
#: Versions counted at a time; above, new ones wait for the next flush.
MAX_VERSIONS = 20_000

_UPSERT = text(
    "INSERT INTO prediction_stats AS kept"
    " (model_id, version, minute, replica_id, requests, errors, latency_histogram)"
    " SELECT :model_id, :version, date_trunc('minute', now()), :replica_id, :requests, :errors,"
    " CAST(:histogram AS integer[])"
    # A database restored to an earlier day knows less than this process.
    " WHERE EXISTS (SELECT FROM models WHERE id = :model_id)"
    " ON CONFLICT (model_id, version, minute, replica_id) DO UPDATE SET"
    " requests = kept.requests + excluded.requests, errors = kept.errors + excluded.errors,"
    " latency_histogram = ARRAY(SELECT a + b FROM"
    " unnest(kept.latency_histogram, excluded.latency_histogram) WITH ORDINALITY AS t(a, b, i)"
    " ORDER BY i)"
)
_TOTALS = text(
    "SELECT version, minute > now() - interval '1 hour' AS is_recent,"
    " sum(requests) AS requests, sum(errors) AS errors FROM prediction_stats"
    " WHERE model_id = :model_id AND minute > now() - interval '1 day' GROUP BY 1, 2"
)
_HISTOGRAMS = text(
    "SELECT version, minute > now() - interval '1 hour' AS is_recent, bucket, sum(count) AS hits"
    " FROM prediction_stats, unnest(latency_histogram) WITH ORDINALITY AS t(count, bucket)"
    " WHERE model_id = :model_id AND minute > now() - interval '1 day' AND count > 0"
    " GROUP BY 1, 2, 3"
)


@dataclass(kw_only=True, slots=True)
class Tally:
    """Requests, errors among them, and how long they took."""

    requests: int = 0
    errors: int = 0
    histogram: list[int] = field(default_factory=lambda: [0] * BUCKETS)

    @property
    def p50_ms(self) -> float | None:
        """Median milliseconds; None without requests."""
        return quantile_ms(self.histogram, 0.5)

    @property
    def p95_ms(self) -> float | None:
        """95th percentile in milliseconds; None without requests."""
        return quantile_ms(self.histogram, 0.95)

    def add(self, other: "Tally") -> None:
        """Count what ``other`` has counted as well."""
        self.requests += other.requests
        self.errors += other.errors
        self.histogram = [a + b for a, b in zip(self.histogram, other.histogram, strict=True)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """One stretch of time: all versions together, and each that was called."""

    total: Tally
    by_version: dict[int, Tally]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelStats:
    """What a model did lately."""

    last_hour: Window
    last_day: Window


class StatsRecorder:
    """Counts predictions of one replica and writes them in the background."""

    def __init__(self, database: Database, replica_id: str) -> None:
        self._database = database
        self._replica_id = replica_id[:128]
        self._tallies: dict[tuple[str, int], Tally] = {}
        self._task: asyncio.Task[None] | None = None

    def record(
        self, model_id: str, version: int, elapsed_s: float, *, is_error: bool = False
    ) -> None:
        """Count one request; a dictionary look-up and a logarithm."""
        tally = self._tallies.get((model_id, version))
        if tally is None:
            if len(self._tallies) >= MAX_VERSIONS:
                return
            tally = self._tallies[model_id, version] = Tally()
        tally.requests += 1
        tally.errors += is_error
        tally.histogram[bucket_of(elapsed_s)] += 1

    def start(self) -> None:
        """Begin to write every ten seconds."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="stats")

    async def stop(self) -> None:
        """Write what is left and stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        with suppress(PlatformError):
            await self.flush()

    async def flush(self) -> None:
        """
        Write what was counted.

        Raises:
            RegistryUnavailable: Then it is kept for the next time.
        """
        tallies, self._tallies = self._tallies, {}
        if not tallies:
            return
        try:
            await self._database.write(lambda session: add(session, self._replica_id, tallies))
        except PlatformError:
            for key, tally in self._tallies.items():
                tallies.setdefault(key, Tally()).add(tally)
            self._tallies = tallies
            raise

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_PERIOD_S)
            try:
                await self.flush()
            except PlatformError as error:
                logger.info("statistics wait for the registry: %s", error)


def add(session: Session, replica_id: str, tallies: dict[tuple[str, int], Tally]) -> None:
    """Add counts to this minute's rows of one replica."""
    rows = [
        {
            "model_id": uuid.UUID(model_id),
            "version": version,
            "replica_id": replica_id,
            "requests": tally.requests,
            "errors": tally.errors,
            "histogram": tally.histogram,
        }
        for (model_id, version), tally in sorted(tallies.items())
    ]
    session.execute(_UPSERT, rows)


def model_stats(session: Session, viewer: Viewer, model: str) -> ModelStats:
    """
    The last hour and the last day of a model; three statements.

    Raises:
        ModelNotFound: If the caller may not see the model.
    """
    parameters = {"model_id": get_row(session, viewer, model).id}
    hour: dict[int, Tally] = {}
    day: dict[int, Tally] = {}
    for row in session.execute(_TOTALS, parameters):
        for tally in _windows(row, hour, day):
            tally.requests += int(row.requests)
            tally.errors += int(row.errors)
    for row in session.execute(_HISTOGRAMS, parameters):
        for tally in _windows(row, hour, day):
            tally.histogram[row.bucket - 1] += int(row.hits)
    return ModelStats(last_hour=_window(hour), last_day=_window(day))


def _windows(row: Any, hour: dict[int, Tally], day: dict[int, Tally]) -> list[Tally]:
    windows = [day, hour] if row.is_recent else [day]
    return [window.setdefault(row.version, Tally()) for window in windows]


def _window(by_version: dict[int, Tally]) -> Window:
    total = Tally()
    for tally in by_version.values():
        total.add(tally)
    return Window(total=total, by_version=dict(sorted(by_version.items())))

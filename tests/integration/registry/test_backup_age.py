"""The age of the last good backup, on whichever node: noted in the registry, told as a metric."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from cluster.backup.create import BackupReport
from cluster.errors import RegistryUnavailable
from serve_app.backup_age import REPORT_PERIOD_S, BackupAge
from serve_app.registry import audit
from serve_app.registry.backup_events import RESTORED, find_last_backup, record_backup
from serve_app.registry.database import Database
from tests.unit.cluster.backup.test_manifest import MANIFEST

pytestmark = pytest.mark.anyio
BEGUN = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
NOW = BEGUN + timedelta(hours=3)


def report(begun: datetime) -> BackupReport:
    return BackupReport(
        manifest=replace(MANIFEST, created_at=begun.isoformat()),
        destination="/backups",
        new_files=0,
        new_bytes=0,
        duration_s=1.5,
    )


@pytest.fixture
def ages() -> list[float]:
    return []


async def test_the_newest_backup_that_was_noted_counts(
    database: Database, database_url: str, ages: list[float]
) -> None:
    age = BackupAge(database, now=lambda: NOW, record=ages.append)

    await age.report()
    assert ages == []
    for begun in (BEGUN, BEGUN - timedelta(days=1)):
        record_backup(database_url, report(begun))
    await age.report()

    assert ages == [3 * 3600.0]


async def test_a_restored_registry_knows_the_backup_it_came_from(database: Database) -> None:
    def restored(session: Session) -> None:
        audit.record(
            session,
            actor="cli",
            action=RESTORED,
            target_type="backup",
            target_id="n",
            details={"backup": "n", "created_at": (BEGUN + timedelta(days=9)).isoformat()},
        )

    await database.write(restored)

    assert await database.read(find_last_backup) == BEGUN + timedelta(days=9)


async def test_it_grows_while_the_registry_is_away(
    database: Database, database_url: str, ages: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = NOW
    age = BackupAge(database, now=lambda: now, record=ages.append)
    record_backup(database_url, report(BEGUN + timedelta(days=10)))
    await age.report()

    async def away(*_: object) -> None:
        raise RegistryUnavailable("the registry does not answer now")

    monkeypatch.setattr(database, "read", away)
    now += timedelta(minutes=5)
    await age.report()

    assert ages[1] - ages[0] == 300


async def test_the_registry_is_asked_four_times_a_minute_at_most(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s, asked = 100.0, 0
    age = BackupAge(database, clock=lambda: now_s)

    async def report() -> None:
        nonlocal asked
        asked += 1

    monkeypatch.setattr(age, "report", report)
    for _ in range(3):
        age.report_soon()
        now_s += REPORT_PERIOD_S / 2
        assert age._task is not None
        await age._task

    assert asked == 2

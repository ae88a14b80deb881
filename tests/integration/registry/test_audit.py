"""The audit trail: kept with what it tells of, filtered, exported."""

from datetime import UTC, datetime, timedelta

import orjson
import pytest
from sqlalchemy.orm import Session

from cluster.errors import InvalidInput
from serve_app.registry import audit
from serve_app.registry.audit import AuditFilter
from serve_app.registry.database import Database

from .conftest import CountStatements, MakeUser

pytestmark = pytest.mark.anyio


async def _note(database: Database, action: str, target_id: str = "t", **more: object) -> None:
    def work(session: Session) -> None:
        audit.record(
            session,
            actor=str(more.get("actor", "ann@example.com")),
            action=action,
            target_type="model",
            target_id=target_id,
            details={"why": more.get("why")},
        )

    await database.write(work)


async def test_an_event_keeps_who_what_and_where(database: Database, make_user: MakeUser) -> None:
    user = await make_user()
    before = datetime.now(UTC) - timedelta(minutes=1)

    await database.write(
        lambda s: audit.record(
            s,
            actor=user.email,
            actor_id=user.user_id,
            action="alias.move",
            target_type="model",
            target_id="m1",
            address="192.0.2.1",
            request_id="r1",
            details={"to": 2},
        )
    )

    found = await database.read(
        lambda s: audit.list_events(s, AuditFilter(actor=user.user_id), limit=9, offset=0)
    )
    (event,) = found.items
    assert (event.actor, event.actor_id, event.action) == (user.email, user.user_id, "alias.move")
    assert (event.target_type, event.target_id) == ("model", "m1")
    assert (event.address, event.request_id, event.details) == ("192.0.2.1", "r1", {"to": 2})
    assert before < event.at < before + timedelta(minutes=2)


async def test_an_event_dies_with_its_transaction(database: Database) -> None:
    def work(session: Session) -> None:
        audit.record(session, actor="a", action="x.undone", target_type="m", target_id="1")
        raise InvalidInput("no")

    with pytest.raises(InvalidInput):
        await database.write(work)
    found = await database.read(
        lambda s: audit.list_events(s, AuditFilter(action="x.undone"), limit=9, offset=0)
    )
    assert found.total == 0


async def test_what_postgresql_cannot_store_is_replaced(database: Database) -> None:
    await _note(database, "upload.refused", "a\x00b", why=["\ud800", float("nan"), "\x00"])

    found = await database.read(
        lambda s: audit.list_events(s, AuditFilter(action="upload.refused"), limit=9, offset=0)
    )
    assert found.items[0].target_id == "a�b"
    assert found.items[0].details == {"why": ["?", None, "�"]}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (AuditFilter(action="filter"), ["filter.two", "filter.one"]),
        (AuditFilter(action="filter.one"), ["filter.one"]),
        (AuditFilter(action="filt"), []),  # a noun, not a prefix
        (AuditFilter(action="filter", actor="bob@example.com"), ["filter.two"]),
        (AuditFilter(action="filter", target_id="t1"), ["filter.one"]),
        (AuditFilter(action="filter", target_type="key"), []),
        (AuditFilter(action="filter", since=datetime(2100, 1, 1, tzinfo=UTC)), []),
        (AuditFilter(action="filter", until=datetime(2000, 1, 1, tzinfo=UTC)), []),
    ],
)
async def test_filters_narrow_newest_first(
    database: Database, wanted: AuditFilter, expected: list[str]
) -> None:
    everything = AuditFilter(action="filter")
    known = await database.read(lambda s: audit.list_events(s, everything, limit=1, offset=0))
    if not known.total:
        await _note(database, "filter.one", "t1")
        await _note(database, "filter.two", "t2", actor="bob@example.com")

    found = await database.read(lambda s: audit.list_events(s, wanted, limit=9, offset=0))

    assert [event.action for event in found.items] == expected
    assert found.total == len(expected)


async def test_a_page_costs_two_statements(
    database: Database, counted_statements: CountStatements
) -> None:
    for number in range(7):
        await _note(database, "page.made", str(number))

    with counted_statements() as statements:
        found = await database.read(
            lambda s: audit.list_events(s, AuditFilter(action="page"), limit=3, offset=2)
        )

    assert len(statements) == 2
    assert [event.target_id for event in found.items] == ["4", "3", "2"]
    assert found.total == 7


async def test_an_export_gives_every_event_as_a_line_oldest_first(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "EXPORT_BATCH", 3)
    for number in range(7):
        await _note(database, "export.made", str(number))

    lines = [line async for line in audit.export_events(database, AuditFilter(action="export"))]

    assert all(line.endswith(b"\n") for line in lines)
    events = [orjson.loads(line) for line in lines]
    assert [event["target_id"] for event in events] == [str(number) for number in range(7)]
    assert events[0]["at"].endswith("Z")

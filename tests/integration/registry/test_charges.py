"""Charges are unique, a quarantine leaves its trace, a release begins anew; on real PostgreSQL."""

import pytest
from sqlalchemy import select

from cluster.contracts import VersionRef
from serve_app.registry.charges import Charges
from serve_app.registry.database import Database
from serve_app.registry.tables import AuditEvent
from serve_app.registry.versions import get_version, release_version
from tests.integration.registry.conftest import MakeModel, MakeUser

pytestmark = pytest.mark.anyio


class Settled:
    """Stands for the follower: remembers what it was asked to settle."""

    def __init__(self) -> None:
        self.sequences: list[int | None] = []

    async def __call__(self, sequence: int | None) -> None:
        self.sequences.append(sequence)


def ref(model_id: str, version: int = 1) -> VersionRef:
    return VersionRef(
        model_id=model_id, version=version, sha256="0" * 64, size_bytes=1, format="skops"
    )


async def test_a_death_is_charged_once_however_many_notice(
    database: Database, make_user: MakeUser, make_model: MakeModel
) -> None:
    version = ref((await make_model(await make_user())).model.id)
    charges = Charges(database, settle=Settled())
    colleague = Charges(database, settle=Settled())

    assert await charges.charge(version, "r1") == 1
    assert await colleague.charge(version, "r1") == 1
    assert await charges.charge(version, "r2") == 2
    assert await charges.charge(ref(version.model_id, 2), "r1") == 1


async def test_a_quarantine_is_in_the_audit_trail_once(
    database: Database, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner = await make_user()
    version = ref((await make_model(owner)).model.id)
    settled = Settled()
    charges = Charges(database, settle=settled)

    assert await charges.quarantine(version, reason="replay", replica_id="r1")
    assert [type(sequence) for sequence in settled.sequences] == [int]
    assert not await charges.quarantine(version, reason="replay", replica_id="r2")
    found = await database.read(lambda s: get_version(s, owner, "iris", 1))
    statement = select(AuditEvent.actor, AuditEvent.details).where(
        AuditEvent.action == "version.quarantine", AuditEvent.target_id == version.model_id
    )
    events = await database.read(lambda s: s.execute(statement).all())

    assert found.status == "quarantined"
    assert [tuple(event) for event in events] == [
        ("platform", {"version": 1, "reason": "replay", "replica": "r1"})
    ]


async def test_a_release_forgets_the_charges(
    database: Database, make_user: MakeUser, make_model: MakeModel
) -> None:
    owner = await make_user()
    version = ref((await make_model(owner)).model.id)
    charges = Charges(database, settle=Settled())
    await charges.charge(version, "r1")
    await charges.charge(version, "r2")
    await database.write(lambda s: release_version(s, owner, "iris", 1))

    assert await charges.charge(version, "r3") == 1

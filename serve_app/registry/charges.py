"""Deaths charged to versions, and the quarantine that follows; the platform's own doing."""

import uuid
from collections.abc import Awaitable, Callable

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cluster.contracts import VersionRef
from serve_app.registry import audit
from serve_app.registry.database import Database
from serve_app.registry.tables import DeathCharge
from serve_app.registry.versions import quarantine_version

#: In the audit trail, as whoever acts without a caller.
ACTOR = "platform"


def charge(session: Session, version: VersionRef, replica_id: str) -> int:
    """
    Charge a replica's death to a version, once however many notice it.

    Returns:
        Different replicas whose deaths the version is charged with by now.
    """
    model_id = uuid.UUID(version.model_id)
    session.execute(
        insert(DeathCharge)
        .values(
            model_id=model_id,
            version=version.version,
            replica_id=replica_id[:128],
        )
        .on_conflict_do_nothing()
    )
    statement = select(func.count()).where(
        DeathCharge.model_id == model_id, DeathCharge.version == version.version
    )
    return session.scalar(statement) or 0


def quarantine(session: Session, version: VersionRef, *, reason: str, replica_id: str) -> bool:
    """
    Hold the version back, with a line in the audit trail.

    Returns:
        True if it was ready until now.
    """
    is_new = quarantine_version(session, version.model_id, version.version)
    if is_new:
        audit.record(
            session,
            actor=ACTOR,
            action="version.quarantine",
            target_type="model",
            target_id=version.model_id,
            details={"version": version.version, "reason": reason, "replica": replica_id},
        )
    return is_new


class Charges:
    """
    The two writes of a trial, each in a transaction of its own.

    Args:
        database: Where they go.
        settle: Returns once every ingress has applied a change.
    """

    def __init__(
        self, database: Database, *, settle: Callable[[int | None], Awaitable[object]]
    ) -> None:
        self._database = database
        self._settle = settle

    async def charge(self, version: VersionRef, replica_id: str) -> int:
        """As ``charge``; raises RegistryUnavailable."""
        return (await self._database.write(lambda s: charge(s, version, replica_id))).value

    async def quarantine(self, version: VersionRef, *, reason: str, replica_id: str) -> bool:
        """As ``quarantine``, for every ingress; raises RegistryUnavailable."""
        written = await self._database.write(
            lambda s: quarantine(s, version, reason=reason, replica_id=replica_id)
        )
        await self._settle(written.sequence)
        return written.value

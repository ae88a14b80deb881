"""A registry with model files beside it, as a backup finds them; and what came of a restore."""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import create_engine, make_url, select, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from cluster.artifacts_files import FileArtifacts
from cluster.backup.create import BackupJob, BackupReport, create_backup
from cluster.backup.crypt import Keys
from cluster.backup.destination import Destination
from cluster.backup.restore import RestoreJob
from cluster.backup.streams import Watch
from serve_app.registry.backup_rows import BackupRows
from serve_app.registry.restore_rows import RestoreRows
from serve_app.registry.tables import ApiKey, Model, ModelVersion, RefreshFamily, User

PASSPHRASE = "correct horse battery staple"


@dataclass(frozen=True, kw_only=True)
class Platform:
    """One database and one store."""

    url: str
    store: FileArtifacts

    def fill(self, email: str, *, versions: int) -> None:
        """One account with a key, a session and a model of so many versions."""
        with self.session() as session:
            user = User(email=email, password_hash="-", role="publisher")
            session.add(user)
            session.flush()
            digest = hashlib.sha256(email.encode()).digest()
            session.add(
                ApiKey(user_id=user.id, name="key", prefix="slp_x", key_sha256=digest, scopes=[])
            )
            session.add(RefreshFamily(user_id=user.id))
            model = Model(owner_id=user.id, name="model")
            session.add(model)
            session.flush()
            for number in range(1, versions + 1):
                self.add_version(session, model.id, user.id, number, f"{email} {number}".encode())
            session.commit()

    def add_version(
        self,
        session: Session,
        model_id: uuid.UUID,
        user_id: uuid.UUID,
        number: int,
        content: bytes,
        *,
        deleted_days_ago: float | None = None,
    ) -> str:
        """The digest of a file that is stored first, as uploads do."""
        sha256 = hashlib.sha256(content).hexdigest()
        self.store.put(content, sha256)
        self.store.put_note(sha256, b'{"canary": {}, "verdicts": {}}')
        gone = timedelta(days=deleted_days_ago or 0)
        session.add(
            ModelVersion(
                model_id=model_id,
                number=number,
                sha256=sha256,
                size_bytes=len(content),
                format="skops",
                signature={},
                report={},
                created_by=user_id,
                deleted_at=None if deleted_days_ago is None else datetime.now(UTC) - gone,
            )
        )
        return sha256

    def session(self) -> Session:
        """A session that closes its connection at the end."""
        return Session(create_engine(self.url, poolclass=NullPool))

    def back_up(
        self,
        destination: Destination,
        *,
        keys: Keys | None = None,
        watch: Watch | None = None,
        now: datetime | None = None,
        is_full: bool = False,
    ) -> BackupReport:
        """A backup of it."""
        job = BackupJob(
            source=BackupRows(self.url),
            store=self.store,
            destination=destination,
            keys=keys or Keys(None),
            configuration={"settings.json": "{}"},
            slipway_version="0.1.0",
            is_full=is_full,
        )
        return create_backup(job, now=now, watch=watch)

    def restoring(
        self,
        destination: Destination,
        *,
        keys: Keys | None = None,
        name: str | None = None,
        is_overwriting: bool = False,
        is_revoking_keys: bool = False,
    ) -> RestoreJob:
        """A restore into it."""
        return RestoreJob(
            target=RestoreRows(self.url),
            store=self.store,
            destination=destination,
            keys=keys or Keys(None),
            name=name,
            is_overwriting=is_overwriting,
            is_revoking_keys=is_revoking_keys,
        )

    def emails(self) -> list[str]:
        """Of every account."""
        with self.session() as session:
            return sorted(session.scalars(select(User.email)))

    def dump_of(self, *tables: str) -> dict[str, list[str]]:
        """Every row of the tables, as text."""
        with self.session() as session:
            return {
                table: sorted(session.scalars(text(f"SELECT t::text FROM {table} t")))
                for table in tables
            }

    def unreadable(self) -> list[str]:
        """Digests of live versions whose file is missing or changed."""
        with self.session() as session:
            rows = session.execute(select(ModelVersion.sha256, ModelVersion.size_bytes)).all()
        return [sha256 for sha256, size in rows if not self._is_readable(sha256, size)]

    def _is_readable(self, sha256: str, size_bytes: int) -> bool:
        return self.store.has(sha256) and bool(self.store.get(sha256, size_bytes) or True)


def clone(server_url: str, name: str, template: str) -> str:
    """URL of a new database that is a copy of another, which nobody uses."""
    server = create_engine(server_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
    server.dispose()
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def platform_at(url: str, directory: Path) -> Platform:
    """A platform whose files lie in ``directory``."""
    return Platform(url=url, store=FileArtifacts(directory))

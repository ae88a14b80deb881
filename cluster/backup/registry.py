"""
What backups ask of the registry, as ports: the rows are read and written elsewhere.

``serve_app/registry/backup_rows.py`` and ``restore_rows.py`` are the adapters.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class RegistrySnapshot:
    """What the registry held at one moment."""

    #: For ``pg_dump --snapshot``; good while the context that gave it is open.
    snapshot_id: str
    #: As "18.4".
    server_version: str
    #: Revision of the schema.
    schema: str
    #: Rows of each table.
    rows: Mapping[str, int]
    #: Bytes by sha256 of model files that must be there.
    needed: Mapping[str, int]
    #: The same of those that go along if they are there: bytes of deleted versions in their days
    #: of grace, and what can be made anew.
    welcome: Mapping[str, int]


class BackupSource(Protocol):
    """The registry that is backed up."""

    @property
    def url(self) -> str:
        """DATABASE_URL."""
        ...

    def exclusive(self) -> AbstractContextManager[None]:
        """
        Keep other backups and the collection of garbage out.

        Raises:
            BackupRefused: One of them runs now.
            BackupFailed: At the end, if the connection that held the lock was lost meanwhile.
        """
        ...

    def snapshot(self) -> AbstractContextManager[RegistrySnapshot]:
        """The registry at this moment; keep it open while dumping."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """What a restore ended."""

    sessions_ended: int
    keys_revoked: int
    #: Steps by which an older schema was brought to this release's.
    migrated: tuple[str, ...]


class RestoreTarget(Protocol):
    """The registry that a restore replaces, by way of a database beside it."""

    @property
    def url(self) -> str:
        """DATABASE_URL."""
        ...

    @property
    def server_version(self) -> str:
        """As "18.4"."""
        ...

    def refuse_schema(self, schema: str) -> None:
        """Raise BackupRefused for a schema that this release does not know."""
        ...

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep other restores and users of the database out; raises BackupRefused."""
        ...

    def occupied(self) -> str | None:
        """What is there already, in words; ``None`` if nothing is."""
        ...

    def stage(self) -> str:
        """A new empty database beside the target; what earlier restores left is dropped."""
        ...

    def staged_rows(self, tables: Mapping[str, int]) -> Mapping[str, int]:
        """Rows of these tables in the staged database; an absent table is left out."""
        ...

    def settle(self, *, revoke_keys: bool, details: Mapping[str, object]) -> Settled:
        """Migrate the staged database, end its sessions and, if asked, its keys."""
        ...

    def switch(self) -> str | None:
        """
        Put the staged database in the target's place, in one transaction.

        Returns:
            Name under which a target that held something is kept; an empty one is dropped.
        """
        ...

    def discard(self) -> None:
        """Drop the staged database, if there is one."""
        ...


class GarbageSource(Protocol):
    """Which stored files the registry still refers to."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Keep backups out; raises BackupRefused while one runs."""
        ...

    def referred(self) -> frozenset[str]:
        """sha256 of every file that is needed, or was until seven days ago."""
        ...

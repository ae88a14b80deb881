"""
Make one backup: the database first, then the model files it refers to, the manifest last.

Whatever dies on the way leaves the earlier backups as they were and a marker by which the next
one clears up.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cluster.artifacts import ArtifactStore
from cluster.backup.catalogue import clear_incomplete, find_key, free_name
from cluster.backup.crypt import CIPHER, BackupKey, Keys
from cluster.backup.destination import INCOMPLETE, MANIFEST, SEAL, Destination, backup_key
from cluster.backup.manifest import (
    CONFIGURATION,
    DUMP,
    NOTES,
    FileEntry,
    KeyNote,
    Manifest,
    seal,
)
from cluster.backup.pool import Copied, Pool, notes_content
from cluster.backup.postgres_client import DatabaseAddress, find_client
from cluster.backup.postgres_dump import dump
from cluster.backup.registry import BackupSource, RegistrySnapshot
from cluster.backup.streams import Digest, Watch, pieces


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupJob:
    """What is backed up, and to where."""

    source: BackupSource
    store: ArtifactStore
    destination: Destination
    keys: Keys
    #: Settings without secrets, by file name.
    configuration: Mapping[str, str]
    slipway_version: str
    #: Copy model files again that are there already.
    is_full: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupReport:
    """A backup that was made."""

    manifest: Manifest
    destination: str
    new_files: int
    new_bytes: int
    duration_s: float


def create_backup(
    job: BackupJob, *, now: datetime | None = None, watch: Watch | None = None
) -> BackupReport:
    """
    Make a backup; it exists from the moment this returns, and not before.

    Raises:
        BackupRefused: Another backup, a restore or the collection of garbage runs.
        BackupFailed: The sentence says why; no backup was made.
    """
    started_s = time.monotonic()
    watch = watch or Watch()
    begun = now or datetime.now(UTC)
    watch.at("begin")
    with job.destination.exclusive() as is_alone, job.source.exclusive():
        clear_incomplete(job.destination, now=begun, is_alone=is_alone)
        writer = _Writer(job=job, name=free_name(job.destination, begun), watch=watch)
        manifest, copied = writer.write(begun)
    return BackupReport(
        manifest=manifest,
        destination=job.destination.name,
        new_files=copied.new_files,
        new_bytes=copied.new_bytes,
        duration_s=time.monotonic() - started_s,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Writer:
    job: BackupJob
    name: str
    watch: Watch

    def write(self, begun: datetime) -> tuple[Manifest, Copied]:
        job, at = self.job, self.watch.at
        key = find_key(job.destination, job.keys)
        at("mark")
        self._put(INCOMPLETE, iter([begun.isoformat().encode()]), None)
        at("dump")
        with job.source.snapshot() as snapshot:
            entries = {DUMP: self._dump(snapshot, key)}
        pool = Pool(destination=job.destination, key=key)
        copied = pool.copy(
            job.store, snapshot.needed, snapshot.welcome, is_full=job.is_full, watch=self.watch
        )
        at("notes")
        notes = notes_content(job.store, copied.artifacts)
        entries[NOTES] = self._put(NOTES, pieces(notes), key)
        at("configuration")
        configuration = json.dumps(dict(job.configuration), indent=1).encode()
        entries[CONFIGURATION] = self._put(CONFIGURATION, pieces(configuration), key)
        at("look again")
        # Where no lock keeps others out, what was there at the start may have been swept since.
        lost = pool.missing(copied.artifacts)
        pool.copy(job.store, lost, {}, is_full=True, watch=Watch())
        manifest = self._manifest(begun, snapshot, key, entries, copied)
        self._seal(manifest, key)
        return manifest, copied

    def _dump(self, snapshot: RegistrySnapshot, key: BackupKey | None) -> FileEntry:
        client = find_client(int(snapshot.server_version.split(".")[0]))
        address = DatabaseAddress.from_url(self.job.source.url)
        return self._put(DUMP, dump(client, address, snapshot.snapshot_id), key)

    def _put(self, file: str, chunks: Iterator[bytes], key: BackupKey | None) -> FileEntry:
        digest = Digest()
        counted = digest.pass_through(chunks)
        stored = counted if key is None else key.encrypt(counted)
        self.job.destination.put(backup_key(self.name, file), stored)
        return FileEntry(sha256=digest.sha256, size_bytes=digest.size_bytes)

    def _manifest(
        self,
        begun: datetime,
        snapshot: RegistrySnapshot,
        key: BackupKey | None,
        entries: dict[str, FileEntry],
        copied: Copied,
    ) -> Manifest:
        note = None
        if key is not None:
            note = KeyNote(cipher=CIPHER, salt=key.salt.hex(), key_id=key.key_id)
        return Manifest(
            name=self.name,
            created_at=begun.astimezone(UTC).isoformat(timespec="seconds"),
            slipway_version=self.job.slipway_version,
            schema=snapshot.schema,
            postgres_version=snapshot.server_version,
            key=note,
            files=entries,
            artifacts=copied.artifacts,
            rows=dict(snapshot.rows),
        )

    def _seal(self, manifest: Manifest, key: BackupKey | None) -> None:
        content = manifest.to_bytes()
        self.watch.at("manifest")
        self.job.destination.put(backup_key(self.name, MANIFEST), [content])
        self.watch.at("seal")
        self.job.destination.put(backup_key(self.name, SEAL), [seal(content, key)])
        self.watch.at("unmark")
        self.job.destination.delete(backup_key(self.name, INCOMPLETE))
        self.watch.at("end")

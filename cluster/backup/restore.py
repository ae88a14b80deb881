"""
Bring a backup back: verified first, into a database beside the old one, switched at the very end.

Model files are named by their digest, so adding them changes nothing that is there.  Until the
switch, which is one transaction, a kill leaves the old data as it was; another restore clears up.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

from cluster.artifacts import ArtifactStore
from cluster.backup.catalogue import choose
from cluster.backup.crypt import BackupKey, Keys
from cluster.backup.destination import Destination
from cluster.backup.faults import BackupCorrupt, BackupFailed, BackupRefused
from cluster.backup.manifest import CONFIGURATION, DUMP, NOTES, Manifest
from cluster.backup.pool import Pool, notes_of
from cluster.backup.postgres_client import DatabaseAddress, find_client
from cluster.backup.postgres_dump import restore
from cluster.backup.registry import RestoreTarget, Settled
from cluster.backup.streams import Watch, side_by_side
from cluster.backup.verify import Verifier, read_file

#: Damages that are told; the rest is counted.
_TOLD = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoreJob:
    """What is restored, from where, over what."""

    target: RestoreTarget
    store: ArtifactStore
    destination: Destination
    keys: Keys
    #: The newest where it is not said.
    name: str | None = None
    is_overwriting: bool = False
    is_revoking_keys: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoreReport:
    """A restore that was made; rows and digests were compared with the manifest's."""

    manifest: Manifest
    settled: Settled
    #: Name of the database that held what was there before, if anything was.
    kept_database: str | None
    #: Settings of then, by file name; for comparing, nothing was applied.
    configuration: dict[str, str]
    duration_s: float


def restore_backup(job: RestoreJob, *, watch: Watch | None = None) -> RestoreReport:
    """
    Verify a backup, then put it in the place of the database and beside the model files.

    Raises:
        BackupRefused: Something is there and ``is_overwriting`` is false, or somebody uses it.
        BackupCorrupt: The backup does not verify; nothing was touched.
        BackupFailed: A step failed; the old database is as it was.
    """
    started_s = time.monotonic()
    watch = watch or Watch()
    manifest, key = _verified(job, watch)
    job.target.refuse_schema(manifest.schema)
    _refuse_older_server(job.target.server_version, manifest)
    with job.target.exclusive():
        _refuse_occupied(job)
        _restore_files(job, manifest, key, watch)
        settled, kept = _restore_database(job, manifest, key, watch)
    _check_files(job.store, manifest, watch)
    return RestoreReport(
        manifest=manifest,
        settled=settled,
        kept_database=kept,
        configuration=_configuration(job, manifest, key),
        duration_s=time.monotonic() - started_s,
    )


def _verified(job: RestoreJob, watch: Watch) -> tuple[Manifest, BackupKey | None]:
    name = choose(job.destination, job.name)
    watch.at("verify")
    verifier = Verifier(destination=job.destination, keys=job.keys, watch=watch)
    verdict, manifest, key = verifier.verify(name)
    if manifest is None or not verdict.is_good:
        told = "; ".join(damage.message for damage in verdict.damages[:_TOLD])
        more = len(verdict.damages) - _TOLD
        raise BackupCorrupt(
            f"backup {name} is damaged and nothing was restored: {told}"
            + (f" and {more} more" if more > 0 else "")
            + "; restore an earlier one with --name"
        )
    return manifest, key


def _refuse_older_server(server_version: str, manifest: Manifest) -> None:
    if int(server_version.split(".", maxsplit=1)[0]) < manifest.postgres_major:
        raise BackupRefused(
            f"the backup is of PostgreSQL {manifest.postgres_version} and the server is "
            f"{server_version}: restore into one that is as new"
        )


def _refuse_occupied(job: RestoreJob) -> None:
    occupied = job.target.occupied()
    if occupied is not None and not job.is_overwriting:
        raise BackupRefused(
            f"the database holds {occupied} already: say --overwrite to replace it (it is kept "
            "under another name), or restore elsewhere"
        )


def _restore_files(
    job: RestoreJob, manifest: Manifest, key: BackupKey | None, watch: Watch
) -> None:
    pool = Pool(destination=job.destination, key=key)
    total = sum(manifest.artifacts.values())
    done = 0

    def put(artifact: tuple[str, int]) -> None:
        sha256, size_bytes = artifact
        watch.at(f"file {sha256[:8]}")
        # The store hashes what it is given: the pool need not.
        job.store.put(pool.content(sha256, size_bytes), sha256)

    for (_, size_bytes), _ in side_by_side(put, manifest.artifacts.items()):
        done += size_bytes
        watch.progress("restoring model files", done, total)
    watch.at("notes")
    for sha256, note in notes_of(b"".join(read_file(job.destination, manifest, key, NOTES))):
        if job.store.find_note(sha256) is None:
            job.store.put_note(sha256, note)


def _restore_database(
    job: RestoreJob, manifest: Manifest, key: BackupKey | None, watch: Watch
) -> tuple[Settled, str | None]:
    target = job.target
    client = find_client(int(target.server_version.split(".")[0]))
    watch.at("stage")
    try:
        staged = DatabaseAddress.from_url(target.url).named(target.stage())
        watch.at("fill")
        restore(client, staged, read_file(job.destination, manifest, key, DUMP))
        watch.at("count")
        _compare_rows(manifest.rows, target.staged_rows(manifest.rows))
        watch.at("settle")
        details = {"backup": manifest.name, "created_at": manifest.created_at}
        settled = target.settle(revoke_keys=job.is_revoking_keys, details=details)
        watch.at("switch")
        kept = target.switch()
    except BaseException:
        target.discard()
        raise
    watch.at("switched")
    return settled, kept


def _compare_rows(expected: Mapping[str, int], found: Mapping[str, int]) -> None:
    differing = sorted(name for name in expected if expected[name] != found.get(name))
    if differing:
        raise BackupFailed(
            f"the restored database lacks rows of {', '.join(differing)}: it was not put in place"
        )


def _check_files(store: ArtifactStore, manifest: Manifest, watch: Watch) -> None:
    watch.at("check files")
    total = sum(manifest.artifacts.values())
    done = 0

    def check(artifact: tuple[str, int]) -> None:
        store.get(*artifact)

    for (_, size_bytes), _ in side_by_side(check, manifest.artifacts.items()):
        done += size_bytes
        watch.progress("reading them once more", done, total)


def _configuration(job: RestoreJob, manifest: Manifest, key: BackupKey | None) -> dict[str, str]:
    content = b"".join(read_file(job.destination, manifest, key, CONFIGURATION))
    return {str(name): str(text) for name, text in json.loads(content).items()}

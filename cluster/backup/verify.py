"""
Prove that backups can be restored: read every byte, against digests and, with a key, tags.

Nothing is trusted that was not verified before: seal, manifest, then files.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from cluster.backup.catalogue import complete_names, open_manifest
from cluster.backup.crypt import BackupKey, Keys
from cluster.backup.destination import Destination, backup_key
from cluster.backup.faults import BackupCorrupt, BackupRefused, Damage
from cluster.backup.manifest import DUMP, NOTES, Manifest
from cluster.backup.pool import Pool, notes_of
from cluster.backup.postgres_client import find_reader
from cluster.backup.postgres_dump import check_listing
from cluster.backup.streams import Digest, Watch, side_by_side


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What was found out about one backup."""

    name: str
    #: Files read, model files included.
    files: int
    size_bytes: int
    damages: tuple[Damage, ...]

    @property
    def is_good(self) -> bool:
        """Whether it can be restored."""
        return not self.damages


@dataclass(kw_only=True)
class Verifier:
    """Verifies the backups of one destination; a model file they share is read once."""

    destination: Destination
    keys: Keys
    watch: Watch = field(default_factory=Watch)
    _pool_damage: dict[str, Damage | None] = field(default_factory=dict)

    def verify_all(self) -> list[Verdict]:
        """
        Every backup, oldest first, then model files that none of them needs but the next would.

        Raises:
            BackupRefused: There is no backup, or no passphrase for one that is encrypted.
        """
        names = complete_names(self.destination)
        if not names:
            raise BackupRefused(f"there is no backup in {self.destination.name}")
        verdicts = [self.verify(name)[0] for name in names]
        damages = tuple(self._verify_spare())
        if damages:
            verdicts.append(Verdict(name="objects", files=0, size_bytes=0, damages=damages))
        return verdicts

    def verify(self, name: str) -> tuple[Verdict, Manifest | None, BackupKey | None]:
        """One backup; with manifest and key where these are to be trusted."""
        try:
            manifest, key = open_manifest(self.destination, name, self.keys)
        except BackupCorrupt as error:
            path = backup_key(name, "manifest.json")
            damage = Damage(path=path, message=error.message)
            return Verdict(name=name, files=0, size_bytes=0, damages=(damage,)), None, None
        damages = (*self._verify_files(manifest, key), *self._verify_pool(manifest, key))
        files = len(manifest.files) + len(manifest.artifacts)
        verdict = Verdict(name=name, files=files, size_bytes=manifest.size_bytes, damages=damages)
        return verdict, manifest, key

    def _verify_files(self, manifest: Manifest, key: BackupKey | None) -> Iterator[Damage]:
        for file in manifest.files:
            path = backup_key(manifest.name, file)
            chunks = read_file(self.destination, manifest, key, file)
            try:
                if file == DUMP:
                    check_listing(find_reader(manifest.postgres_major), chunks, path)
                elif file == NOTES:
                    list(notes_of(b"".join(chunks)))
                else:
                    for _ in chunks:
                        pass
            except BackupCorrupt as error:
                yield Damage(path=path, message=error.message)

    def _verify_pool(self, manifest: Manifest, key: BackupKey | None) -> Iterator[Damage]:
        pool = Pool(destination=self.destination, key=key)
        total = sum(manifest.artifacts.values())
        done = 0

        def verify(artifact: tuple[str, int]) -> Damage | None:
            return self._verify_object(pool, *artifact)

        for (_, size_bytes), damage in side_by_side(verify, manifest.artifacts.items()):
            done += size_bytes
            self.watch.progress(f"verifying {manifest.name}", done, total)
            if damage is not None:
                yield damage

    def _verify_object(self, pool: Pool, sha256: str, size_bytes: int) -> Damage | None:
        path = pool.path(sha256)
        if path not in self._pool_damage:
            try:
                pool.read(sha256, size_bytes)
                self._pool_damage[path] = None
            except BackupCorrupt as error:
                self._pool_damage[path] = Damage(path=path, message=error.message)
        return self._pool_damage[path]

    def _verify_spare(self) -> Iterator[Damage]:
        pool = Pool(destination=self.destination, key=None)
        for path, size_bytes in self.destination.sizes("objects/plain").items():
            if path not in self._pool_damage:
                damage = self._verify_object(pool, path.rsplit("/", 1)[-1], size_bytes)
                if damage is not None:
                    yield damage


def read_file(
    destination: Destination, manifest: Manifest, key: BackupKey | None, file: str
) -> Iterator[bytes]:
    """
    A backup's own file in clear.

    Raises:
        BackupCorrupt: On the way, or at the end: its digest or size is not the manifest's.
    """
    path = backup_key(manifest.name, file)
    chunks = destination.read(path)
    if key is not None:
        chunks = key.decrypt(chunks, path)
    digest = Digest()
    yield from digest.pass_through(chunks)
    entry = manifest.files[file]
    if (digest.sha256, digest.size_bytes) != (entry.sha256, entry.size_bytes):
        raise BackupCorrupt(f"{path} does not have the digest that its manifest names")

"""
The manifest of one backup: every file with its SHA-256 and size, and what the registry held.

``manifest.sum`` beside it holds the manifest's own digest, and with a passphrase its HMAC: whoever
changes a file has to change the manifest, and cannot do that unseen.
"""

import hashlib
import hmac
import json
import re
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from cluster.backup.crypt import SALT_BYTES, BackupKey
from cluster.backup.faults import BackupCorrupt, BackupRefused

FORMAT = 1
#: 20261123T020000Z, and -2, -3 for others of the same second.
NAME = re.compile(r"\d{8}T\d{6}Z(-\d{1,3})?")
DUMP = "database.dump"
NOTES = "notes.jsonl.gz"
CONFIGURATION = "configuration.json"
FILES = (DUMP, NOTES, CONFIGURATION)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class FileEntry:
    """One file before encryption."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyNote:
    """By what the backup is encrypted; no secret."""

    cipher: str
    #: Hex.
    salt: str
    key_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What belongs to one backup."""

    name: str
    #: RFC 3339, UTC.
    created_at: str
    #: Release of ours that made it, and the registry's schema.
    slipway_version: str
    schema: str
    #: Server whose dump this is, as "18.4".
    postgres_version: str
    key: KeyNote | None
    files: dict[str, FileEntry]
    #: Bytes of each model file by its sha256.
    artifacts: dict[str, int]
    #: Rows of each table.
    rows: dict[str, int]
    format: int = field(default=FORMAT)

    @property
    def size_bytes(self) -> int:
        """Of all files together, before encryption."""
        return sum(f.size_bytes for f in self.files.values()) + sum(self.artifacts.values())

    @property
    def key_id(self) -> str | None:
        """Name of the key, ``None`` for a backup in clear."""
        return self.key.key_id if self.key else None

    @property
    def postgres_major(self) -> int:
        """Major version of the server."""
        return int(self.postgres_version.split(".", maxsplit=1)[0])

    def to_bytes(self) -> bytes:
        """The one way to write this manifest."""
        document = asdict(self)
        return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Manifest":
        """
        The manifest that was written so.

        Raises:
            BackupCorrupt: It is not one of ours, byte for byte.
        """
        try:
            manifest = _parsed(json.loads(content))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BackupCorrupt("the manifest cannot be read") from error
        if manifest.to_bytes() != content:
            raise BackupCorrupt("the manifest is not as it was written")
        return manifest


def seal(content: bytes, key: BackupKey | None) -> bytes:
    """What ``manifest.sum`` holds for these bytes of a manifest."""
    lines = [f"sha256 {hashlib.sha256(content).hexdigest()}"]
    if key is not None:
        lines.append(f"hmac-sha256 {key.authenticate(content)}")
    return ("\n".join(lines) + "\n").encode()


def check_digest(content: bytes, found: bytes) -> None:
    """
    Return if the seal's digest is the manifest's; says nothing of who made them.

    Raises:
        BackupCorrupt: It is not.
    """
    if not found.startswith(seal(content, None)):
        raise BackupCorrupt("the manifest is not the one that its digest was made of")


def check_seal(content: bytes, found: bytes, key: BackupKey | None) -> None:
    """
    Return if the seal is whole and, with a key, was made with it.

    Raises:
        BackupCorrupt: It is not.
    """
    check_digest(content, found)
    if not hmac.compare_digest(found, seal(content, key)):
        raise BackupCorrupt("the manifest was not authenticated with this passphrase")


def name_of(moment: datetime) -> str:
    """Name of a backup begun then."""
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def moment_of(name: str) -> datetime:
    """When the backup of that name was begun; raises BackupRefused for what is no name."""
    if not NAME.fullmatch(name):
        raise BackupRefused(f"{name!r} is no name of a backup: `slipway backup list` shows them")
    return datetime.strptime(name[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def _parsed(document: dict[str, Any]) -> Manifest:
    if document["format"] != FORMAT:
        raise ValueError("another format")
    note = document.pop("key")
    files = {name: FileEntry(**entry) for name, entry in document.pop("files").items()}
    key = None if note is None else KeyNote(**note)
    manifest = Manifest(key=key, files=files, **document)
    is_whole = (
        NAME.fullmatch(manifest.name)
        and set(files) == set(FILES)
        and all(_SHA256.fullmatch(sha256) for sha256 in manifest.artifacts)
        and all(isinstance(size, int) for size in manifest.artifacts.values())
        and manifest.postgres_major
        and (key is None or len(bytes.fromhex(key.salt)) == SALT_BYTES)
    )
    if not is_whole:
        raise ValueError("a member is not what it should be")
    return manifest

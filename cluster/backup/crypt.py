"""
Encryption under a passphrase: AES-256-GCM in pieces, each file under a key of its own.

    header   magic, salt of the passphrase (16 bytes), salt of this file (32)
    piece    1 MiB of plaintext (the last may be shorter), then a 16-byte tag

The nonce counts the pieces and marks the last one, and every tag covers the header: a flipped bit,
a piece cut off, added or moved is noticed.  (The STREAM construction: Hoang, Reyhanitabar, Rogaway
and Vizár 2015.)
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from cluster.backup.faults import BackupCorrupt, BackupRefused
from cluster.backup.streams import PIECE_BYTES, recut

CIPHER = "AES-256-GCM, 1 MiB pieces"
MAGIC = b"slipway-backup-1"
SALT_BYTES = 16
FILE_SALT_BYTES = 32
TAG_BYTES = 16
HEADER_BYTES = len(MAGIC) + SALT_BYTES + FILE_SALT_BYTES
PASSPHRASE_BYTES_MIN = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupKey:
    """What a passphrase and a salt make: encrypts files and authenticates manifests."""

    salt: bytes
    master: bytes = field(repr=False)

    @property
    def key_id(self) -> str:
        """Tells keys apart without telling anything else."""
        return self._derived(b"id")[:8].hex()

    def authenticate(self, content: bytes) -> str:
        """HMAC-SHA-256 in hex."""
        return hmac.new(self._derived(b"manifest"), content, hashlib.sha256).hexdigest()

    def encrypt(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Header and pieces."""
        file_salt = secrets.token_bytes(FILE_SALT_BYTES)
        header = MAGIC + self.salt + file_salt
        cipher = AESGCM(self._derived(b"file", file_salt))
        yield header
        for index, piece, is_last in _numbered(recut(chunks)):
            yield cipher.encrypt(_nonce(index, is_last=is_last), piece, header)

    def decrypt(self, chunks: Iterable[bytes], path: str) -> Iterator[bytes]:
        """
        The plaintext, each piece verified before it is given out.

        Raises:
            BackupCorrupt: At the first piece that is not what was encrypted, or is missing.
        """
        stream = iter(chunks)
        header = bytearray()
        rest = b""
        for chunk in stream:
            header += chunk
            if len(header) >= HEADER_BYTES:
                rest = bytes(header[HEADER_BYTES:])
                break
        head = bytes(header[:HEADER_BYTES])
        if len(head) < HEADER_BYTES or not head.startswith(MAGIC):
            raise BackupCorrupt(f"{path} does not begin as an encrypted file does")
        cipher = AESGCM(self._derived(b"file", head[-FILE_SALT_BYTES:]))
        sealed = recut(_joined(rest, stream), PIECE_BYTES + TAG_BYTES)
        for index, piece, is_last in _numbered(sealed):
            try:
                yield cipher.decrypt(_nonce(index, is_last=is_last), piece, head)
            except InvalidTag as error:
                raise BackupCorrupt(f"{path} was changed, cut off or made with another key") from (
                    error
                )

    def _derived(self, purpose: bytes, salt: bytes | None = None) -> bytes:
        info = b"slipway backup " + purpose
        return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(self.master)


class Keys:
    """The keys that one passphrase makes; none without one."""

    def __init__(self, passphrase: str | None) -> None:
        if passphrase is not None and len(passphrase.encode()) < PASSPHRASE_BYTES_MIN:
            raise BackupRefused(
                f"the passphrase has fewer than {PASSPHRASE_BYTES_MIN} bytes: "
                "make one with `openssl rand -base64 32`"
            )
        self._passphrase = passphrase
        self._known: dict[bytes, BackupKey] = {}

    @property
    def is_given(self) -> bool:
        """Whether there is a passphrase."""
        return self._passphrase is not None

    def key(self, salt: bytes) -> BackupKey:
        """
        The key of this passphrase and salt; a tenth of a second at the first call.

        Raises:
            BackupRefused: There is no passphrase.
        """
        if self._passphrase is None:
            raise BackupRefused("the backup is encrypted: name its --passphrase-file")
        if salt not in self._known:
            kdf = Scrypt(salt=salt, length=32, n=2**15, r=8, p=1)
            master = kdf.derive(self._passphrase.encode())
            self._known[salt] = BackupKey(salt=salt, master=master)
        return self._known[salt]

    def new_key(self) -> BackupKey:
        """A key with a salt of its own."""
        return self.key(secrets.token_bytes(SALT_BYTES))


def encrypted_size(plain_bytes: int) -> int:
    """Bytes of a file of so many after encryption."""
    count = max(1, -(-plain_bytes // PIECE_BYTES))
    return HEADER_BYTES + plain_bytes + count * TAG_BYTES


def _numbered(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes, bool]]:
    """Index, piece, and whether it is the last; an empty stream is one empty piece."""
    index = 0
    waiting: bytes | None = None
    for chunk in chunks:
        if waiting is not None:
            yield index, waiting, False
            index += 1
        waiting = chunk
    yield index, waiting or b"", True


def _nonce(index: int, *, is_last: bool) -> bytes:
    return index.to_bytes(11) + bytes([is_last])


def _joined(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest

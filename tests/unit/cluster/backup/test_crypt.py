"""Encryption under a passphrase."""

import os

import pytest

from cluster.backup.crypt import (
    FILE_SALT_BYTES,
    HEADER_BYTES,
    MAGIC,
    SALT_BYTES,
    TAG_BYTES,
    BackupKey,
    Keys,
    encrypted_size,
)
from cluster.backup.faults import BackupCorrupt, BackupRefused
from cluster.backup.streams import PIECE_BYTES

KEY = BackupKey(salt=b"s" * SALT_BYTES, master=b"m" * 32)


def sealed(content: bytes) -> bytes:
    return b"".join(KEY.encrypt([content]))


def opened(content: bytes, key: BackupKey = KEY) -> bytes:
    return b"".join(key.decrypt([content], "file"))


@pytest.mark.parametrize(
    "size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES]
)
def test_what_was_encrypted_is_decrypted(size: int) -> None:
    content = os.urandom(size)

    assert opened(sealed(content)) == content
    assert len(sealed(content)) == encrypted_size(size)


def test_pieces_may_arrive_in_any_size() -> None:
    content = os.urandom(PIECE_BYTES + 17)
    stored = sealed(content)

    chunks = (stored[start : start + 999] for start in range(0, len(stored), 999))

    assert b"".join(KEY.decrypt(chunks, "file")) == content


def test_the_same_file_is_encrypted_differently_each_time() -> None:
    assert sealed(b"x") != sealed(b"x")


@pytest.mark.parametrize(
    "place",
    [
        0,  # magic
        len(MAGIC),  # salt
        len(MAGIC) + SALT_BYTES,  # the file's salt
        HEADER_BYTES,  # first piece
        HEADER_BYTES + PIECE_BYTES + TAG_BYTES,  # second piece
        -1,  # last tag
    ],
)
def test_a_flipped_bit_anywhere_is_noticed(place: int) -> None:
    content = bytearray(sealed(os.urandom(PIECE_BYTES + 5)))
    content[place] ^= 1

    with pytest.raises(BackupCorrupt):
        opened(bytes(content))


@pytest.mark.parametrize(
    "left",
    [
        0,  # nothing
        HEADER_BYTES - 1,
        HEADER_BYTES,  # no piece at all
        HEADER_BYTES + PIECE_BYTES + TAG_BYTES,  # cut exactly between two pieces
        -1,
    ],
)
def test_a_cut_is_noticed(left: int) -> None:
    stored = sealed(os.urandom(2 * PIECE_BYTES))

    with pytest.raises(BackupCorrupt):
        opened(stored[:left])


def test_pieces_that_changed_places_are_noticed() -> None:
    stored = sealed(os.urandom(3 * PIECE_BYTES))
    step = PIECE_BYTES + TAG_BYTES
    head, first, second, rest = (
        stored[:HEADER_BYTES],
        stored[HEADER_BYTES : HEADER_BYTES + step],
        stored[HEADER_BYTES + step : HEADER_BYTES + 2 * step],
        stored[HEADER_BYTES + 2 * step :],
    )

    with pytest.raises(BackupCorrupt):
        opened(head + second + first + rest)


def test_another_key_opens_nothing() -> None:
    other = BackupKey(salt=KEY.salt, master=b"n" * 32)

    with pytest.raises(BackupCorrupt):
        opened(sealed(b"x"), other)
    assert other.key_id != KEY.key_id
    assert other.authenticate(b"x") != KEY.authenticate(b"x")


def test_a_passphrase_and_a_salt_make_one_key() -> None:
    salt = os.urandom(FILE_SALT_BYTES)[:SALT_BYTES]

    keys = [Keys("correct horse battery").key(salt) for _ in range(2)]

    assert keys[0] == keys[1]
    assert Keys("correct horse batterz").key(salt) != keys[0]


def test_a_key_does_not_show_itself() -> None:
    assert "mmmm" not in repr(KEY)


def test_a_short_passphrase_is_refused() -> None:
    with pytest.raises(BackupRefused, match="12 bytes"):
        Keys("short")


def test_without_a_passphrase_there_is_no_key() -> None:
    with pytest.raises(BackupRefused, match="--passphrase-file"):
        Keys(None).key(b"s" * SALT_BYTES)

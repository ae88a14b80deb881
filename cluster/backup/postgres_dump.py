"""pg_dump and pg_restore as streams of bytes: no dump is ever written to a disk of ours."""

import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import IO

from cluster.backup.faults import BackupCorrupt, BackupFailed
from cluster.backup.postgres_client import DatabaseAddress, PostgresClient
from cluster.backup.streams import PIECE_BYTES

_TOLD_CHARACTERS = 500


def dump(client: PostgresClient, address: DatabaseAddress, snapshot_id: str) -> Iterator[bytes]:
    """
    The database as of an exported snapshot, in pg_dump's compressed custom format.

    Raises:
        BackupFailed: With what pg_dump said.
    """
    arguments = (
        "--format=custom",
        "--no-owner",
        "--no-privileges",
        "--no-password",
        "--lock-wait-timeout=60s",
        f"--snapshot={snapshot_id}",
        f"--dbname={address.uri}",
    )
    with client.environment(address) as environment, tempfile.TemporaryFile() as told:
        process = subprocess.Popen(  # noqa: S603 - a program of PostgreSQL's, our arguments
            [str(client.bin / "pg_dump"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=told,
            env=environment,
        )
        try:
            assert process.stdout is not None
            while piece := process.stdout.read(PIECE_BYTES):
                yield piece
            if process.wait() != 0:
                raise BackupFailed(f"pg_dump failed: {_said(told)}")
        finally:
            _end(process)


def restore(client: PostgresClient, address: DatabaseAddress, chunks: Iterable[bytes]) -> None:
    """
    Fill an empty database from a dump, in one transaction.

    Raises:
        BackupFailed: With what pg_restore said; the database is as empty as before.
    """
    arguments = (
        "--single-transaction",
        "--exit-on-error",
        "--no-owner",
        "--no-privileges",
        "--no-password",
        f"--dbname={address.uri}",
    )
    with client.environment(address) as environment:
        said = _fed(client, arguments, chunks, environment)
    if said is not None:
        raise BackupFailed(f"pg_restore failed: {said}")


def check_listing(client: PostgresClient, chunks: Iterable[bytes], path: str) -> None:
    """
    Return if pg_restore can read the dump's table of contents.

    Raises:
        BackupCorrupt: With what it said.
    """
    with client.environment() as environment:
        said = _fed(client, ("--list",), chunks, environment)
    if said is not None:
        raise BackupCorrupt(f"{path} is no dump that pg_restore reads: {said}")


def _fed(
    client: PostgresClient,
    arguments: tuple[str, ...],
    chunks: Iterable[bytes],
    environment: dict[str, str],
) -> str | None:
    """What pg_restore said if it failed on these bytes; ``None`` if it did not."""
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(  # noqa: S603 - a program of PostgreSQL's, our arguments
            [str(client.bin / "pg_restore"), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=told,
            env=environment,
        )
        try:
            assert process.stdin is not None
            _feed(process.stdin, chunks)
            return None if process.wait() == 0 else _said(told)
        finally:
            _end(process)


def _feed(stdin: IO[bytes], chunks: Iterable[bytes]) -> None:
    # It may stop reading before the end: having seen what it wants, or having failed.  All the
    # rest is read all the same, since reading is what verifies it.
    is_open = True
    for chunk in chunks:
        if is_open:
            try:
                stdin.write(chunk)
            except BrokenPipeError:
                is_open = False
    with suppress(BrokenPipeError):
        stdin.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()


def _said(told: IO[bytes]) -> str:
    told.seek(0)
    return told.read().decode(errors="replace").strip()[-_TOLD_CHARACTERS:]

"""
PostgreSQL's own programs, of the server's major version, and how they reach a database.

An older pg_dump refuses a newer server, and what a newer one writes an older server may not
take: so only an equal one is used.
"""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self
from urllib.parse import quote, unquote, urlencode, urlsplit

from cluster.backup.faults import BackupFailed
from cluster.postgres_install import PostgresMissing, wheel_directory
from cluster.private_files import write_private

SYSTEM_DIRECTORY = Path("/usr/lib/postgresql")
_VERSION = re.compile(r"(\d+)(\.\d+)?")
_VERSION_TIMEOUT_S = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class DatabaseAddress:
    """Where a database is; the password never stands on a command line."""

    #: Without the password.
    uri: str
    database: str
    password: str | None = field(repr=False)

    @classmethod
    def from_url(cls, url: str) -> Self:
        """The address that DATABASE_URL names."""
        parts = urlsplit(url)
        user, _, host = parts.netloc.rpartition("@")
        account, _, password = user.partition(":")
        database = unquote(parts.path.lstrip("/"))
        query = "&".join(filter(None, (parts.query, urlencode({"connect_timeout": "10"}))))
        authority = f"{account}@{host}" if account else host
        uri = f"postgresql://{authority}/{quote(database, safe='')}?{query}"
        return cls(uri=uri, database=database, password=unquote(password) or None)

    def named(self, database: str) -> Self:
        """Another database of the same server."""
        head, _, query = self.uri.partition("?")
        start = head.rpartition("/")[0]
        return replace(self, uri=f"{start}/{quote(database, safe='')}?{query}", database=database)


@dataclass(frozen=True, kw_only=True, slots=True)
class PostgresClient:
    """pg_dump and pg_restore of one version."""

    bin: Path
    version: str

    @contextlib.contextmanager
    def environment(self, address: DatabaseAddress | None = None) -> Iterator[dict[str, str]]:
        """What the programs see: nothing of ours but a 0600 file with the password."""
        plain = {"PATH": f"{self.bin}:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": "/"}
        if address is None or address.password is None:
            yield plain
            return
        with tempfile.TemporaryDirectory(prefix="slipway-pg-") as directory:
            passwords = Path(directory, "pgpass")
            escaped = address.password.replace("\\", "\\\\").replace(":", "\\:")
            write_private(passwords, f"*:*:*:*:{escaped}\n")
            yield plain | {"PGPASSFILE": str(passwords)}


def find_client(major: int) -> PostgresClient:
    """
    Programs of this major version: from the wheel, from Debian's places, or on PATH.

    Raises:
        BackupFailed: None is installed; the sentence says what to install.
    """
    for directory in _directories(major):
        version = _version_of(directory)
        if version is not None and version.split(".")[0] == str(major):
            return PostgresClient(bin=directory, version=version)
    raise BackupFailed(
        f"there is no pg_dump of PostgreSQL {major}, which the server is: install "
        f"postgresql-client-{major}, or run this where it is installed"
    )


def find_reader(major: int) -> PostgresClient:
    """
    Programs that can read a dump of this major version: its own, else newer ones.

    Raises:
        BackupFailed: None is installed.
    """
    with contextlib.suppress(BackupFailed):
        return find_client(major)
    for directory in _directories(major):
        version = _version_of(directory)
        if version is not None and int(version.split(".")[0]) > major:
            return PostgresClient(bin=directory, version=version)
    return find_client(major)


def _directories(major: int) -> Iterator[Path]:
    with contextlib.suppress(PostgresMissing):
        yield from sorted(path / "bin" for path in wheel_directory().glob("pginstall*"))
    yield SYSTEM_DIRECTORY / str(major) / "bin"
    if found := shutil.which("pg_dump"):
        yield Path(found).parent


def _version_of(directory: Path) -> str | None:
    program = directory / "pg_dump"
    if not (os.access(program, os.X_OK) and os.access(directory / "pg_restore", os.X_OK)):
        return None
    try:
        told = subprocess.run(  # noqa: S603 - a program of PostgreSQL's
            [str(program), "--version"],
            capture_output=True,
            check=True,
            text=True,
            timeout=_VERSION_TIMEOUT_S,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    # "pg_dump (PostgreSQL) 18.4 (Debian 18.4-1)"
    found = _VERSION.search(told.partition(")")[2])
    return found.group() if found else None

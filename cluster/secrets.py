"""
Secrets on their way to Ray: out of the environment, into files that only we may read.

A secret that the operator gives by value is written to ``<home>/secrets/given/<NAME>`` at each
start; one that we make ourselves is kept in ``<home>/secrets/``.  Processes of Ray are told the
files' names alone, and each reads those that its role lists.
"""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from cluster.private_files import generated_secret, private_directory, write_private
from cluster.setting_sources import SECRET_NAMES
from cluster.settings import Settings

#: Credentials of an S3 artifact store, which obstore would look for in the environment.
OBJECT_STORE_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
#: Never handed on by value, whatever they hold.
STRIPPED = frozenset(
    {
        *SECRET_NAMES,
        *OBJECT_STORE_SECRETS,
        "RAY_AUTH_TOKEN",
        "PGPASSWORD",
        "SLIPWAY_API_KEY",
        "SLIPWAY_PASSWORD",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class HandedSecrets:
    """Names of the 0600 files by variable, such as ``SECRET_KEY_FILE``; no value among them."""

    files: dict[str, str]
    ray_token: Path


def hand_over(
    home: Path,
    settings: Settings,
    environment: Mapping[str, str],
    *,
    urls: Mapping[str, str],
) -> HandedSecrets:
    """
    Write every secret that this process was given to a file of its own.

    Args:
        home: SLIPWAY_HOME; absolute.
        settings: As the operator gave them, secrets included.
        environment: Where names of mounted secret files and object-store credentials are found.
        urls: ``DATABASE_URL`` and ``REDIS_URL`` of embedded servers; they win.

    Returns:
        The files.
    """
    values = _given_values(settings, environment) | dict(urls)
    if settings.secret_key is None and not settings.is_hardened:
        values["SECRET_KEY"] = generated_secret(home / "secrets" / "secret_key", size_bytes=48)
    given = private_directory(home / "secrets") / "given"
    files: dict[str, str] = {}
    for name in (*SECRET_NAMES, *OBJECT_STORE_SECRETS):
        mounted = environment.get(f"{name}_FILE")
        if mounted and name not in urls:
            files[f"{name}_FILE"] = str(Path(mounted).absolute())
        elif value := values.get(name):
            write_private(given / name, value)
            files[f"{name}_FILE"] = str(given / name)
    # What an earlier start was given and this one is not must not live on; what is the same stays
    # readable throughout, since a replica may be reading it.
    for stale in private_directory(given).iterdir():
        if str(stale) not in files.values():
            stale.unlink()
    return HandedSecrets(files=files, ray_token=ray_token_file(home, environment))


def ray_token_file(home: Path, environment: Mapping[str, str]) -> Path:
    """File of the token that every Ray and Serve port asks for: 256 bits, made at first use."""
    named = environment.get("RAY_AUTH_TOKEN_PATH")
    if named:
        return Path(named).absolute()
    path = home / "secrets" / "ray_token"
    token = environment.get("RAY_AUTH_TOKEN")
    if token:
        path = home / "secrets" / "ray_token_given"
        write_private(path, token)
    else:
        generated_secret(path)
    return path


def read_token(path: Path) -> str | None:
    """The token in ``path``; ``None`` without such a file."""
    return path.read_text(encoding="utf-8").strip() if path.is_file() else None


def forget_handed(home: Path, environment: MutableMapping[str, str]) -> None:
    """
    Drop the file names that an earlier ``slipway env`` of this home put into a shell.

    They would pass for mounted secrets of the operator's, the embedded database for their own.
    """
    given = home / "secrets" / "given"
    for name in (*SECRET_NAMES, *OBJECT_STORE_SECRETS):
        named = environment.get(f"{name}_FILE")
        if named and Path(named).absolute().parent == given:
            del environment[f"{name}_FILE"]
    if environment.get("RAY_AUTH_TOKEN_PATH") == str(home / "secrets" / "ray_token"):
        del environment["RAY_AUTH_TOKEN_PATH"]


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment less every variable that may hold a secret."""
    return {name: value for name, value in environment.items() if name.upper() not in STRIPPED}


def _given_values(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    values = {}
    for name in SECRET_NAMES:
        secret = getattr(settings, name.lower())
        if isinstance(secret, SecretStr):
            values[name] = secret.get_secret_value()
    for name in OBJECT_STORE_SECRETS:
        if name in environment:
            values[name] = environment[name]
    return values

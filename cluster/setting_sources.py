"""
Where settings come from: environment variables first, then the dotenv file that ENV_FILE names.

Secrets may also come from ``<NAME>_FILE`` (a mode 0600 file or a mounted secret); a process reads
only those that its role lists.
"""

import os
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from cluster.errors import InsecureSettings
from cluster.settings import Settings

#: Secrets and the setting that holds each.
SECRET_NAMES = (
    "SECRET_KEY",
    "SECRET_KEY_PREVIOUS",
    "DATABASE_URL",
    "REDIS_URL",
    "SENTRY_DSN",
    "EDGE_TOKEN",
)


class Role(StrEnum):
    """Who is asking: decides which secrets are read."""

    INGRESS = "ingress"
    LOADER = "loader"
    PREDICTOR = "predictor"
    OPERATOR = "operator"


#: What each role may hold; the Loader's object-store credentials are read by its adapter.
ROLE_SECRETS: dict[Role, frozenset[str]] = {
    Role.INGRESS: frozenset(
        {
            "SECRET_KEY",
            "SECRET_KEY_PREVIOUS",
            "DATABASE_URL",
            "REDIS_URL",
            "SENTRY_DSN",
            "EDGE_TOKEN",
        }
    ),
    Role.LOADER: frozenset({"SENTRY_DSN"}),
    Role.PREDICTOR: frozenset({"SENTRY_DSN"}),
    Role.OPERATOR: frozenset(SECRET_NAMES),
}


def load_settings(role: Role = Role.OPERATOR) -> Settings:
    """
    Settings from the environment and ENV_FILE, holding only the secrets that ``role`` lists.

    Raises:
        InsecureSettings: If a value cannot be read; the message names every one and no value.
    """
    values: dict[str, Any] = {}
    for name in SECRET_NAMES:
        if name not in ROLE_SECRETS[role]:
            values[name.lower()] = None
        elif (secret := read_secret_file(name)) is not None:
            values[name.lower()] = SecretStr(secret)
    try:
        return Settings(_env_file=_env_file(), **values)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        raise InsecureSettings("settings cannot be used: " + "; ".join(faults)) from None


def read_secret_file(name: str) -> str | None:
    """
    Content of the file that ``<name>_FILE`` names, without its last newline; ``None`` if unset.

    Raises:
        InsecureSettings: If the file is named and cannot be read.
    """
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return None
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        reason = error.strerror or "unreadable"
        raise InsecureSettings(
            f"{name}_FILE names {path}, which cannot be read: {reason}"
        ) from None


def _env_file() -> Path | None:
    named = os.environ.get("ENV_FILE")
    if named is None:
        return Path(".env")
    if named and not Path(named).is_file():
        raise InsecureSettings(
            f"ENV_FILE names {named}, which does not exist: create it or unset it"
        )
    return Path(named) if named else None

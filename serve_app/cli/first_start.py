"""
The first start of a development platform: an administrator, a demonstration model, a key for it.

Everything goes through our own HTTP API but the account itself, which no API gives.
"""

import asyncio
import json
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cluster.errors import PlatformError
from cluster.private_files import write_private
from cluster.settings import Settings
from serve_app.cli import local
from serve_app.cli.demonstration import MODEL, ROW
from serve_app.cli.output import say
from serve_app.registry import users
from serve_app.registry.database import Database
from serve_app.security.passwords import Passwords

ADMIN_EMAIL = "admin@slipway.local"
KEY_NAME = "demonstration"
UPLOAD_TIMEOUT_S = 120.0
#: What passes by itself while replicas are still starting.
BUSY = frozenset({httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE, 504})
BUSY_PAUSES_S = (1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstStart:
    """What was made now; the password is known this once."""

    admin_email: str | None = None
    admin_password: str | None = None
    #: A line that answers when pasted into a shell.
    curl: str | None = None


class Training:
    """The demonstration model, made by a process of its own while everything else starts."""

    def __init__(self, path: Path) -> None:
        """Begin it; the model will be at ``path``."""
        self._path = path
        command = [sys.executable, "-m", "serve_app.cli.demonstration", str(path)]
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def result(self) -> Path:
        """Where the model is; waits for it, raises CalledProcessError where there is none."""
        if code := self._process.wait():
            raise subprocess.CalledProcessError(code, self._process.args)
        return self._path

    def end(self) -> None:
        """End it, where it has not ended by itself."""
        self._process.kill()
        self._process.wait()


@contextmanager
def in_training(settings: Settings) -> Iterator[Training | None]:
    """The demonstration model of a first start; ``None`` where there will be no demonstration."""
    if settings.is_hardened or _key_file(settings).exists():
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="slipway-") as directory:
        training = Training(Path(directory, f"{MODEL}.skops"))
        try:
            yield training
        finally:
            training.end()


def first_start(settings: Settings, url: str, training: Training | None) -> FirstStart:
    """
    Make what a first start makes; later ones only tell the line again.

    Staging and production get neither account nor model: `slipway users create` makes the first.
    """
    if settings.is_hardened:
        return FirstStart()
    key_file = _key_file(settings)
    password = _first_admin(settings)
    if password is not None and training is not None:
        try:
            write_private(key_file, _demonstrate(url, password, training))
        except (PlatformError, httpx.HTTPError, subprocess.CalledProcessError) as error:
            # The platform is up all the same; a demonstration must not take it down again.
            say(f"slipway: the demonstration model was not uploaded: {error}")
    return FirstStart(
        admin_email=ADMIN_EMAIL if password else None,
        admin_password=password,
        curl=_curl(url, key_file) if key_file.exists() else None,
    )


def _first_admin(settings: Settings) -> str | None:
    """Password of the administrator made now; ``None`` if there are accounts already."""
    password = secrets.token_urlsafe(15)

    async def make() -> bool:
        database = Database.from_settings(
            settings.model_copy(update={"database_pool_size": 1}), application_name="slipway-up"
        )
        try:
            if await database.read(users.count_users):
                return False
            password_hash = await Passwords().hash(password)
            await local.write(
                database,
                lambda session: users.create_user(
                    session, email=ADMIN_EMAIL, password_hash=password_hash, role="admin"
                ),
                action="user.create",
                target=("user", lambda account: account.id),
                details={"role": "admin"},
            )
        finally:
            await database.close()
        return True

    return password if asyncio.run(make()) else None


def _key_file(settings: Settings) -> Path:
    return settings.slipway_home / "secrets" / "demonstration_key"


def _demonstrate(url: str, password: str, training: Training) -> str:
    """Upload the model; a key that may predict with it."""
    path = training.result()
    base_url = f"{url}/api/v1"
    with httpx.Client(base_url=base_url, timeout=UPLOAD_TIMEOUT_S, trust_env=False) as http:
        credentials = {"email": ADMIN_EMAIL, "password": password}
        token = _posted(http, "/auth/login", json=credentials)["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"
        fields = {"name": MODEL, "description": "Iris species from four measurements."}
        file = {"file": (path.name, path.read_bytes())}
        _posted(http, "/models", data=fields, files=file)
        key = {"name": KEY_NAME, "scopes": ["predict"], "models": [MODEL]}
        return str(_posted(http, "/api-keys", json=key)["key"])


def _posted(http: httpx.Client, path: str, **sent: Any) -> dict[str, object]:
    """
    The answer's body; a platform that has just begun and is still busy is asked again.

    One key for all tries: what was done the first time is answered again, not done twice.
    """
    headers = {"Idempotency-Key": secrets.token_urlsafe(16)}
    for pause_s in (*BUSY_PAUSES_S, None):
        answer = http.post(path, headers=headers, **sent)
        if answer.is_success:
            return dict(answer.json())
        if pause_s is None or answer.status_code not in BUSY:
            break
        time.sleep(pause_s)
    raise PlatformError(f"{path} answers {answer.status_code}: {answer.text[:500]}")


def _curl(url: str, key_file: Path) -> str:
    body = json.dumps({"instances": [ROW]})
    return (
        f"curl -s {url}/api/v1/models/{MODEL}/predict"
        f" -H 'Content-Type: application/json' -H \"X-API-Key: $(cat '{key_file}')\""
        f" -d '{body}'"
    )

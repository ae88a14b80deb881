"""
The HTTP application over real PostgreSQL, Valkey, Loader and Predictor, for a fuzzer to talk to.

``python -m tests.fuzz.api_server HOME`` prints its URL as the first line; each line that it reads,
a role, is answered by a fresh access token of that role's user, who is mended first: whatever the
fuzzer did to itself, it goes on.  It ends with its standard input.
"""

import asyncio
import io
import json
import signal
import sys
import threading
import uuid
from collections.abc import Coroutine
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import skops.io
import uvicorn
from pydantic import SecretStr
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from cluster.embedded import EmbeddedPostgres, EmbeddedValkey
from cluster.settings import Settings
from deployments.loader import Loader
from serve_app.app import create_app
from serve_app.hot_routes import HotRoutes
from serve_app.registry import users
from serve_app.registry.database import Session
from serve_app.registry.migrate import upgrade
from serve_app.registry.sessions import open_session
from serve_app.registry.users import Account
from serve_app.services import Services
from tests.integration.one_process import services_over, with_quick_passwords

ROLES = ("member", "publisher", "admin")
#: As the descriptions in the OpenAPI document name their examples.
MODEL = "iris"
UNLIMITED = 1_000_000_000


def main() -> None:
    """Serve until standard input ends."""
    # Killed politely, the servers below end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    home = Path(sys.argv[1])
    postgres, valkey = EmbeddedPostgres(home), EmbeddedValkey(home)
    try:
        database_url, redis_url = postgres.start(), valkey.start()
        upgrade(database_url)
        settings = Settings(
            _env_file=None,
            slipway_home=home,
            database_url=SecretStr(database_url),
            redis_url=SecretStr(redis_url),
            secret_key=SecretStr("k" * 40),
            access_token_expire_minutes=600,
            default_rate_limit=UNLIMITED,
            login_rate_limit=UNLIMITED,
            register_rate_limit=UNLIMITED,
            max_models_per_user=100_000,
            max_keys_per_user=100_000,
        )
        _serve(settings)
    finally:
        valkey.stop()
        postgres.stop()


def _serve(settings: Settings) -> None:
    loader = Loader(settings=settings)
    # Hashes that take no time, and no password that the fuzzer guesses locks it out.
    services = with_quick_passwords(services_over(settings, loader, replica_id="fuzzed"), settings)
    app = HotRoutes(create_app(services), settings)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="on")
    server = uvicorn.Server(config)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: loop.run_until_complete(server.serve()))
    thread.start()
    started = threading.Event()
    while not server.started and thread.is_alive():
        started.wait(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}"

    def run(work: Coroutine[Any, Any, str]) -> str:
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    try:
        for role in ROLES:
            _upload(url, run(_token(services, role)))
        print(json.dumps({"url": url}), flush=True)
        for line in sys.stdin:
            print(run(_token(services, line.strip())), flush=True)
    finally:
        server.should_exit = True
        thread.join()
        loader.close()


async def _token(services: Services, role: str) -> str:
    email = f"{role}@example.org"

    def sign_in(session: Session) -> str:
        found, _ = users.list_users(session, limit=1000, offset=0)
        account = next((each for each in found if each.email == email), None)
        account = _mended(session, account) if account else _made(session, email, role)
        opened = open_session(
            session,
            account.id,
            session_epoch=account.session_epoch,
            lifetime_s=36_000,
            now=datetime.now(UTC),
        )
        return services.tokens.access(account.id, opened.family_id, account.session_epoch)

    return (await services.database.write(sign_in)).value


def _mended(session: Session, account: Account) -> Account:
    role = account.email.partition("@")[0]
    return users.update_user(session, account.id, role=role, is_active=True)


def _made(session: Session, email: str, role: str) -> Account:
    make = partial(users.create_user, session, password_hash="x", role=role)
    if role == "admin":
        # Another one, so that the first may lose its role without being the last.
        make(email=f"{uuid.uuid4().hex}@example.org")
    return make(email=email)


def _upload(url: str, token: str) -> None:
    rows, labels = load_iris(return_X_y=True)
    content = skops.io.dumps(LogisticRegression(max_iter=500).fit(rows, labels))
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, headers=headers, timeout=120) as http:
        files = {"file": ("model.skops", io.BytesIO(content))}
        http.post("/api/v1/models", files=files, data={"name": MODEL}).raise_for_status()


if __name__ == "__main__":
    main()

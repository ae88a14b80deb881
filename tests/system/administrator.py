"""An administrator of a platform, made on the command line."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.system.client import PASSWORD
from tests.system.platform import Platform


@contextmanager
def administrator(platform: Platform) -> Iterator[httpx.Client]:
    """A client that is signed in as one."""
    email = f"admin{secrets.token_hex(6)}@example.org"
    made = platform.run(
        "users", "create", email, "--role", "admin", "--password-stdin", "--json", stdin=PASSWORD
    )
    assert made.returncode == 0, made.stderr
    with httpx.Client(base_url=platform.url, timeout=60) as http:
        tokens = http.post("/api/v1/auth/login", json={"email": email, "password": PASSWORD})
        http.headers["Authorization"] = f"Bearer {tokens.json()['access_token']}"
        yield http

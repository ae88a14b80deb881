"""Under load, each change reaches every ingress replica within its bound, Valkey up or away."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.system.administrator import administrator
from tests.system.client import ApiUser
from tests.system.platform import Platform
from tests.system.test_versions import constant, move_production, predicting

#: Seconds after which nothing old is served: with Valkey's messages, and by polling alone.
BOUND_S = {"up": 2.0, "away": 10.0}
#: How long answers are looked at after the bound.
BEYOND_S = 2.0


@contextmanager
def valkey(platform: Platform, state: str) -> Iterator[None]:
    """Valkey as it is, or stopped: it takes connections and never answers."""
    pids = [] if state == "up" else processes_named(platform, "valkey-server")
    assert pids or state == "up"
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def processes_named(platform: Platform, name: str) -> list[int]:
    found = []
    for pid in platform.processes():
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
        if command.endswith(name.encode()):
            found.append(pid)
    return found


def last_old_s(ask: Callable[[], bool], bound_s: float) -> float:
    """Seconds from now to the last answer that was still old; 0 without any."""
    began_s = time.monotonic()
    last_s = 0.0
    asked = 0
    while (now_s := time.monotonic() - began_s) < bound_s + BEYOND_S:
        if ask():
            last_s = now_s
        asked += 1
    assert asked > 20
    return last_s


@pytest.fixture(scope="module")
def admin(platform: Platform) -> Iterator[httpx.Client]:
    """A client of one of the module's own."""
    with administrator(platform) as http:
        yield http


@pytest.mark.parametrize("state", ["up", "away"])
def test_promotion_revocation_and_limits_hold_within_the_bound(
    platform: Platform, user: ApiUser, admin: httpx.Client, state: str
) -> None:
    user.upload("constant", constant(1.0)).raise_for_status()
    user.upload_version("constant", constant(2.0)).raise_for_status()
    key = user.http.post("/api/v1/api-keys", json={"name": "short"}, headers=user.headers).json()
    user_id = user.http.get("/api/v1/auth/me", headers=user.headers).json()["id"]
    limits = httpx.Limits(max_keepalive_connections=0)  # each call to whichever replica is next
    with (
        httpx.Client(base_url=platform.url, timeout=30, limits=limits) as http,
        predicting(user, platform.url) as load,
        valkey(platform, state),
    ):

        def ask(secret: str) -> httpx.Response:
            return http.post(
                "/api/v1/models/constant/predict",
                json={"instances": [[0.0]]},
                headers={"X-API-Key": secret},
            )

        for _ in range(20):
            assert ask(key["key"]).status_code == httpx.codes.OK
        move_production(user, 2)
        promoted_s = last_old_s(lambda: ask(user.key).json().get("version") != 2, BOUND_S[state])
        revoked = user.http.delete(f"/api/v1/api-keys/{key['id']}", headers=user.headers)
        revoked_s = last_old_s(lambda: ask(key["key"]).status_code != 401, BOUND_S[state])
        changed = admin.patch(f"/api/v1/users/{user_id}", json={"limits": {"rate_limit": 777_777}})
        limited_s = last_old_s(
            lambda: "777777" not in ask(user.key).headers["RateLimit-Policy"], BOUND_S[state]
        )

    measured = {"promotion": promoted_s, "revocation": revoked_s, "limits": limited_s}
    assert (revoked.status_code, changed.status_code) == (204, 200), changed.text
    assert max(measured.values()) <= BOUND_S[state], json.dumps(measured)
    assert len(load) > 50
    assert {answer.status_code for answer in load} == {httpx.codes.OK}

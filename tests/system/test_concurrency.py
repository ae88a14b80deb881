"""Many clients at once: no 5xx but a 503 that says when to come back, and no wrong answer."""

import asyncio
import os
from collections import Counter

import httpx
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from tests.system.client import ApiUser, as_bytes
from tests.system.platform import Platform

pytestmark = pytest.mark.anyio
CLIENTS = 200
#: The whole minute of the promise with SLIPWAY_FULL=1; a slice of it otherwise.
DURATION_S = 60.0 if os.environ.get("SLIPWAY_FULL") else 10.0


def doubling(slope: float) -> bytes:
    features = np.arange(4.0).reshape(-1, 1)
    return as_bytes(LinearRegression().fit(features, slope * features[:, 0]), "skops")


async def one_client(
    http: httpx.AsyncClient, user: ApiUser, number: int, seen: Counter[str]
) -> None:
    """Upload now and then, list, predict, and check what comes back."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + DURATION_S
    turn = 0
    while loop.time() < ends:
        turn += 1
        if turn % 40 == number % 40:  # not all at once: people come when they like
            kind, response = (
                "upload",
                await http.post(
                    "/api/v1/models",
                    files={"file": ("m", doubling(2.0))},
                    data={"name": f"m{number}-{turn}"},
                    headers=user.headers,
                ),
            )
        elif turn % 5 == 0:
            kind, response = "list", await http.get("/api/v1/models", headers=user.headers)
        else:
            value = float(number + turn)
            kind, response = (
                "predict",
                await http.post(
                    "/api/v1/models/double/predict",
                    json={"instances": [[value]]},
                    headers={"X-API-Key": user.key},
                ),
            )
            if response.is_success:
                np.testing.assert_allclose(response.json()["predictions"], [2 * value], rtol=1e-9)
        seen[f"{kind} {response.status_code}"] += 1
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            assert "Retry-After" in response.headers
            await asyncio.sleep(min(1.0, float(response.headers["Retry-After"])))


async def test_two_hundred_clients_meet_no_fault(platform: Platform) -> None:
    users: list[ApiUser] = []
    for _ in range(4):
        with ApiUser.register(platform.url) as user:
            user.upload("double", doubling(2.0)).raise_for_status()
            users.append(user)
    seen: Counter[str] = Counter()
    limits = httpx.Limits(max_connections=CLIENTS)

    async with httpx.AsyncClient(base_url=platform.url, timeout=60, limits=limits) as http:
        clients = (one_client(http, users[n % len(users)], n, seen) for n in range(CLIENTS))
        await asyncio.gather(*clients)

    faults = {what: n for what, n in seen.items() if what.split()[1] not in {"200", "201", "503"}}
    assert faults == {}
    assert seen["predict 200"] > CLIENTS
    assert seen["upload 201"] > 0

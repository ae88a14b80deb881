"""More uploads at once than can be vetted in time: the rest is told early when to come back."""

import asyncio
import time
from dataclasses import dataclass, field

import pytest

from cluster.contracts import VetReport, VetRequest
from serve_app.vetting import VETTINGS_AT_A_TIME, Vetting
from tests.integration.models_api.conftest import House, NotingLoaders, skops_file
from tests.integration.models_api.uploading import upload

pytestmark = pytest.mark.anyio
USERS = 30
PATIENCE_S = 30


@dataclass
class HeldLoaders(NotingLoaders):
    """Makes the first file seem to take long, and holds the others until they are let go."""

    passed_s: float = 0.0
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    def clock(self) -> float:
        """Seconds; while the first file is vetted, many pass."""
        return time.monotonic() + self.passed_s

    async def vet(self, content: bytes, request: VetRequest) -> VetReport:
        if not self.requests:
            self.passed_s = 42.0
        else:
            await self.let_go.wait()
        return await super().vet(content, request)


async def test_a_flood_is_turned_away_early_with_the_seconds_to_wait(house: House) -> None:
    loaders = HeldLoaders()
    house.services.vetting = Vetting(loaders, patience_s=PATIENCE_S, clock=loaders.clock)
    clients = [await house.user(f"user-{n}@example.org") for n in range(USERS)]
    assert (await upload(clients[0], "first")).status_code == 201
    loaders.passed_s = 0

    began_s = time.monotonic()
    calls = [
        asyncio.create_task(upload(client, "model", skops_file(str(n))))
        for n, client in enumerate(clients)
    ]
    async with asyncio.timeout(PATIENCE_S / 2):
        while sum(call.done() for call in calls) < USERS // 2:
            await asyncio.wait(calls, timeout=0.05)
    refused = [call.result() for call in calls if call.done()]
    taken_s = time.monotonic() - began_s
    loaders.let_go.set()
    answers = await asyncio.gather(*calls)

    assert {answer.status_code for answer in refused} == {503}
    assert {answer.json()["code"] for answer in refused} == {"overloaded"}
    assert all(1 <= int(answer.headers["retry-after"]) <= PATIENCE_S for answer in refused)
    assert taken_s < PATIENCE_S / 2
    served = [answer for answer in answers if answer.status_code == 201]
    assert len(served) >= VETTINGS_AT_A_TIME
    assert {answer.status_code for answer in answers} == {201, 503}

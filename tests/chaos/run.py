"""One run: load, writers and a nemesis on one platform; the history of it."""

import asyncio
import random
from dataclasses import dataclass

import httpx

from tests.chaos.history import History
from tests.chaos.load import CONNECTIONS, MODEL, TIMEOUT_S, Load
from tests.chaos.nemesis import Nemesis
from tests.chaos.writers import Writer, model_file
from tests.system.client import ApiUser
from tests.system.platform import Platform


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run does; the same seed does the same."""

    seed: int
    seconds: float
    #: Predictions a second.
    rate: float
    faults: tuple[str, ...]
    first_fault_s: float = 5.0

    def times_s(self, dice: random.Random) -> list[float]:
        """When each fault is done: evenly, give or take a second."""
        room_s = (self.seconds - self.first_fault_s) / max(len(self.faults), 1)
        return [
            self.first_fault_s + n * room_s + dice.uniform(0, min(1.0, room_s / 2))
            for n in range(len(self.faults))
        ]


def run(platform: Platform, plan: Plan) -> History:
    """Do as planned; returns when every request is answered."""
    with ApiUser.register(platform.url) as user:
        user.upload(MODEL, model_file(1)).raise_for_status()
        user.predict(MODEL, [[1.0]]).raise_for_status()
        return asyncio.run(_run(platform, plan, user))


async def _run(platform: Platform, plan: Plan, user: ApiUser) -> History:
    dice = random.Random(plan.seed)
    history = History(uploaded={1}, promoted={1: 0.0})
    bounds = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    async with httpx.AsyncClient(
        base_url=platform.url, timeout=TIMEOUT_S, limits=bounds, trust_env=False
    ) as http:
        started_s = asyncio.get_running_loop().time()
        load = Load(http, history, dice, started_s, user.key)
        writer = Writer(load, user.headers)
        await asyncio.gather(
            load.run(rate=plan.rate, seconds=plan.seconds),
            writer.run(plan.seconds - PAUSE_BEFORE_END_S),
            _harm(Nemesis(platform, dice), plan, load, dice),
        )
        await writer.look_for_versions()
    return history


#: Writers end first, so that their last promises are tested by predictions.
PAUSE_BEFORE_END_S = 3.0


async def _harm(nemesis: Nemesis, plan: Plan, load: Load, dice: random.Random) -> None:
    faults = nemesis.faults()
    for name, at_s in zip(plan.faults, plan.times_s(dice), strict=True):
        await asyncio.sleep(max(at_s - load.now_s(), 0))
        began_s = load.now_s()
        load.history.faults.append((began_s, await faults[name]()))

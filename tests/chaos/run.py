"""One run: load, writers and a nemesis on one platform; the history of it."""

import asyncio
import random
from dataclasses import dataclass

import httpx

from tests.chaos.history import Harm, History
from tests.chaos.load import MODEL, TIMEOUT_S, Load, session
from tests.chaos.nemesis import STOPPED_S, Nemesis
from tests.chaos.stages import Stage
from tests.chaos.writers import Writer, model_file
from tests.on_time import on_time
from tests.system.client import ApiUser

#: Load after the last fault in which writes should be taken again.
REST_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run does; the same seed does the same."""

    seed: int
    #: Least length; a fault that lasts prolongs it.
    seconds: float
    #: Predictions a second.
    rate: float
    faults: tuple[str, ...]
    first_fault_s: float = 5.0
    #: How long what is stopped, slowed or filled stays so.
    stopped_s: float = STOPPED_S
    #: However long the faults take, so much load comes after them.
    rest_s: float = 0.0
    is_edged: bool = False

    def times_s(self, dice: random.Random) -> list[float]:
        """When each fault is done: evenly, give or take a second."""
        room_s = (self.seconds - self.first_fault_s) / max(len(self.faults), 1)
        return [
            self.first_fault_s + n * room_s + dice.uniform(0, min(1.0, room_s / 2))
            for n in range(len(self.faults))
        ]


def run(stage: Stage, plan: Plan) -> History:
    """Do as planned; returns when every request is answered."""
    with ApiUser.register(stage.platform.url) as user:
        user.upload(MODEL, model_file(1)).raise_for_status()
        user.predict(MODEL, [[1.0]]).raise_for_status()
        # Replicas that start would starve the load, which then came all at once.
        with on_time():
            return asyncio.run(_run(stage, plan, user))


async def _run(stage: Stage, plan: Plan, user: ApiUser) -> History:
    dice = random.Random(plan.seed)
    history = History(uploaded={1}, promoted={1: 0.0})
    door = stage.door(is_edged=plan.is_edged)
    async with (
        session() as predicting,
        httpx.AsyncClient(
            base_url=door.url,
            headers=door.headers,
            verify=door.trust,
            timeout=TIMEOUT_S,
            trust_env=False,
        ) as writing,
    ):
        started_s = asyncio.get_running_loop().time()
        load = Load(predicting, door, history, dice, started_s, user.key)
        writer = Writer(writing, load, user.email)
        nemesis = Nemesis(stage.platform, dice, plan.stopped_s, stage.disk, stage.valkey)
        await asyncio.gather(
            load.run(rate=plan.rate), writer.run(), _harm(nemesis, plan, load, dice)
        )
        await writer.look_for_versions()
    return history


async def _harm(nemesis: Nemesis, plan: Plan, load: Load, dice: random.Random) -> None:
    faults = nemesis.faults()
    for name, at_s in zip(plan.faults, plan.times_s(dice), strict=True):
        if load.now_s() >= plan.seconds:
            break  # those that lasted took the time of those that were left
        await asyncio.sleep(max(at_s - load.now_s(), 0))
        began_s = load.now_s()
        what = await faults[name]()
        load.history.faults.append(Harm(began_s=began_s, ended_s=load.now_s(), what=what))
    last_s = max((harm.ended_s for harm in load.history.faults), default=0.0)
    load.ends_s = max(plan.seconds, last_s + plan.rest_s)

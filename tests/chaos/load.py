"""An open-loop loader: requests leave when they are due, whether or not others have come back."""

import asyncio
import itertools
import json
import math
import random
from dataclasses import dataclass, field

import aiohttp

from tests.chaos.history import History, Prediction
from tests.chaos.stages import Door

MODEL = "under-test"
TIMEOUT_S = 35.0
#: The edge has 512 for one address.
CONNECTIONS = 400


@dataclass
class Load:
    """
    Predictions of one run, noted in its history.

    By aiohttp: after a stall httpx's pool looks at each of its connections with each request, and
    keeps no rate worth speaking of.
    """

    session: aiohttp.ClientSession
    door: Door
    history: History
    dice: random.Random
    started_s: float
    #: The key that is never revoked.
    key: str
    #: When no more are sent; later than it seems at first where a fault lasts.
    ends_s: float = math.inf
    _under_way: set[asyncio.Task[Prediction]] = field(default_factory=set)

    def now_s(self) -> float:
        """Seconds since the start of the run."""
        return asyncio.get_running_loop().time() - self.started_s

    async def run(self, *, rate: float) -> None:
        """Send ``rate`` predictions a second until ``ends_s``; returns when all are answered."""
        for n in itertools.count():
            if (due_s := n / rate) >= self.ends_s:
                break
            await asyncio.sleep(max(due_s - self.now_s(), 0))
            task = asyncio.create_task(self.predict(due_s, self.key, -1))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        await asyncio.gather(*self._under_way)

    async def predict(self, due_s: float, key: str, number: int) -> Prediction:
        """One prediction, noted."""
        x = self.dice.uniform(-1e6, 1e6)
        noted = Prediction(due_s=due_s, sent_s=self.now_s(), done_s=0.0, x=x, status=0, key=number)
        try:
            async with self.session.post(
                f"{self.door.url}/api/v1/models/{MODEL}/predict",
                json={"instances": [[x]]},
                headers=self.door.headers | {"X-API-Key": key},
                ssl=self.door.trust,
            ) as answer:
                _read(noted, answer.status, await answer.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            noted.code = type(error).__name__
        noted.done_s = self.now_s()
        self.history.predictions.append(noted)
        return noted


def session() -> aiohttp.ClientSession:
    """One of a run's connections."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
    )


def _read(noted: Prediction, status: int, content: bytes) -> None:
    noted.status = status
    try:
        body = json.loads(content)
    except ValueError:
        noted.code = "not JSON"
        return
    if status == 200:
        noted.version, noted.value = int(body["version"]), float(body["predictions"][0])
    else:
        noted.code = str(body.get("code"))

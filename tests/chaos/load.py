"""An open-loop loader: requests leave when they are due, whether or not others have come back."""

import asyncio
import itertools
import math
import random
from dataclasses import dataclass, field

import httpx

from tests.chaos.history import History, Prediction

MODEL = "under-test"
TIMEOUT_S = 35.0
CONNECTIONS = 400


@dataclass
class Load:
    """Predictions of one run, noted in its history."""

    http: httpx.AsyncClient
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
            answer = await self.http.post(
                f"/api/v1/models/{MODEL}/predict",
                json={"instances": [[x]]},
                headers={"X-API-Key": key},
            )
        except httpx.HTTPError as error:
            noted.code = type(error).__name__
        else:
            _read(noted, answer)
        noted.done_s = self.now_s()
        self.history.predictions.append(noted)
        return noted


def _read(noted: Prediction, answer: httpx.Response) -> None:
    noted.status = answer.status_code
    try:
        body = answer.json()
    except ValueError:
        noted.code = "not JSON"
        return
    if answer.is_success:
        noted.version, noted.value = int(body["version"]), float(body["predictions"][0])
    else:
        noted.code = str(body.get("code"))

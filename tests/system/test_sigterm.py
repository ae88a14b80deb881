"""
SIGTERM under load: what the platform has accepted it answers, wholly and rightly; then it is gone.

A request is accepted when its connection was made, whether it is new or kept alive, and the request
was sent.  Only a connection that cannot be made is a refusal: no 503, no reset, no answer cut short
counts as one.
"""

import asyncio
import json
import random
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor

from tests.system.client import ApiUser, as_bytes
from tests.system.platform import PATIENCE_S, Platform, running, wait_until

pytestmark = pytest.mark.quiet

RATE = 100
BEFORE = 200
ROWS = np.random.default_rng(0).normal(size=(200, 4))
MODELS = {
    # The short path answers it in the ingress replica; the other one goes through a Predictor.
    "short": LinearRegression().fit(ROWS, ROWS.sum(axis=1)),
    "long": KNeighborsRegressor(3).fit(ROWS, ROWS.sum(axis=1)),
}


@dataclass
class Clients:
    """Predictions at a fixed rate over kept and over new connections, each value checked."""

    url: str
    key: str
    outcomes: Counter[str] = field(default_factory=Counter)
    #: Answers that were right, of requests sent after the signal.
    after: int = 0
    is_signalled: bool = False
    #: When so many predictions are answered that every replica has had some.
    warm: asyncio.Event = field(default_factory=asyncio.Event)
    #: When no connection can be made any more.
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    _dice: random.Random = field(default_factory=lambda: random.Random(7))

    async def run(self, ended: asyncio.Event) -> None:
        """Send until ``ended``, then wait for what is under way."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        tasks: list[asyncio.Task[None]] = []
        async with self.client() as kept, self.client(is_new_each_time=True) as new:
            while not ended.is_set():
                n = len(tasks)
                await asyncio.sleep(max(began_s + n / RATE - loop.time(), 0))
                name = ("short", "long")[n % 2]
                tasks.append(asyncio.create_task(self.predict((kept, new)[n // 2 % 2], name)))
            await asyncio.gather(*tasks)

    def client(
        self, *, headers: dict[str, str] | None = None, is_new_each_time: bool = False
    ) -> httpx.AsyncClient:
        """A client with connections of its own; with the API key unless told otherwise."""
        return httpx.AsyncClient(
            base_url=self.url,
            timeout=60,
            trust_env=False,
            headers=headers or {"X-API-Key": self.key},
            limits=httpx.Limits(max_keepalive_connections=0 if is_new_each_time else None),
        )

    async def predict(self, http: httpx.AsyncClient, name: str) -> None:
        """One prediction of a row that nobody asked before."""
        row = [self._dice.gauss(0, 1) for _ in range(4)]
        is_after = self.is_signalled
        body = json.dumps({"instances": [row]}).encode()
        outcome = await self.outcome(http, name, row, body)
        self.outcomes[outcome] += 1
        if self.outcomes.total() == BEFORE:
            self.warm.set()
        self.after += is_after and outcome == "right"

    async def held_back(self, name: str) -> str:
        """A prediction whose body is whole only once the platform takes no more connections."""
        row = [1.0, 2.0, 3.0, 4.0]
        body = json.dumps({"instances": [row]}).encode()
        async with self.client() as http:
            return await self.outcome(http, name, row, self.in_two(body), size=len(body))

    async def outcome(
        self,
        http: httpx.AsyncClient,
        name: str,
        row: list[float],
        body: bytes | AsyncIterator[bytes],
        size: int | None = None,
    ) -> str:
        """``right``, ``refused``, or what went wrong."""
        headers = {} if size is None else {"Content-Length": str(size)}
        try:
            answer = await http.post(
                f"/api/v1/models/{name}/predict", content=body, headers=headers
            )
        except httpx.ConnectError:
            self.closed.set()
            return "refused"
        except httpx.HTTPError as error:
            return repr(error)
        if answer.status_code != httpx.codes.OK:
            return f"{answer.status_code} {answer.text}"
        found = answer.json()["predictions"]
        return "right" if np.allclose(found, MODELS[name].predict([row])) else f"wrong: {found}"

    async def upload(self, content: bytes, headers: dict[str, str]) -> str:
        """An upload whose file is whole only once the platform takes no more connections."""
        form = httpx.Request(
            "POST",
            self.url,
            files={"file": ("model.joblib", content)},
            data={"name": "late"},
        )
        body = form.read()
        async with self.client(headers=headers) as http:
            sent = {"Content-Type": form.headers["Content-Type"], "Content-Length": str(len(body))}
            try:
                answer = await http.post("/api/v1/models", content=self.in_two(body), headers=sent)
            except httpx.HTTPError as error:
                return repr(error)
        return f"{answer.status_code} {answer.json().get('status', answer.text)}"

    async def in_two(self, body: bytes) -> AsyncIterator[bytes]:
        """The body, its second half after the door is closed."""
        yield body[: len(body) // 2]
        await asyncio.wait_for(self.closed.wait(), 60)
        yield body[len(body) // 2 :]


async def end_under_load(platform: Platform, user: ApiUser) -> tuple[Clients, dict[str, str]]:
    """Load, the signal in its midst, and what became of the requests that were half sent."""
    assert platform.process is not None
    clients = Clients(platform.url, user.key)
    ended = asyncio.Event()
    load = asyncio.create_task(clients.run(ended))
    late = as_bytes(MODELS["short"], "joblib")
    halves = {
        "short": asyncio.create_task(clients.held_back("short")),
        "long": asyncio.create_task(clients.held_back("long")),
        "upload": asyncio.create_task(clients.upload(late, user.headers)),
    }
    try:
        await asyncio.wait_for(clients.warm.wait(), 60)
        platform.process.send_signal(signal.SIGTERM)
        clients.is_signalled = True
        await asyncio.to_thread(platform.process.wait, PATIENCE_S)
    finally:
        ended.set()
    await load
    return clients, {name: await task for name, task in halves.items()}


def is_free(port: int) -> bool:
    """Whether somebody may listen there."""
    with socket.socket() as tried, suppress(OSError):
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tried.bind(("127.0.0.1", port))
        return True
    return False


def test_what_was_accepted_before_sigterm_is_answered(tmp_path: Path) -> None:
    with running(tmp_path, WORKERS="2") as platform, ApiUser.register(platform.url) as user:
        for name, model in MODELS.items():
            user.upload(name, as_bytes(model, "joblib")).raise_for_status()
            user.predict(name, ROWS[:1].tolist()).raise_for_status()

        clients, halves = asyncio.run(end_under_load(platform, user))

        assert platform.process is not None
        print(dict(clients.outcomes), clients.after, halves)
        assert clients.outcomes.keys() == {"right", "refused"}, clients.outcomes
        assert halves == {"short": "right", "long": "right", "upload": "201 ready"}
        assert platform.process.returncode == 0
        wait_until(lambda: not platform.processes(), what="the end of all processes", timeout_s=20)
        ports = {name: port for name, port in platform.environment.items() if name.endswith("PORT")}
        assert [name for name, port in ports.items() if not is_free(int(port))] == []

        platform.start()
        row = ROWS[:1]
        assert user.predict("late", row.tolist()).json()["predictions"] == pytest.approx(
            MODELS["short"].predict(row).tolist()
        )

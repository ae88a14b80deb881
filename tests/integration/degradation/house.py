"""A whole application in one process, and how its answers are watched while a server is away."""

import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil
from sklearn.linear_model import LinearRegression

from cluster.settings import Settings
from deployments.loader import Loader
from serve_app.app import create_app
from serve_app.services import Services, build_services
from tests.system.client import as_bytes

FEATURES = np.random.default_rng(0).normal(size=(30, 2))
numbers = itertools.count(1)


@dataclass
class House:
    """The whole application in one process over servers of its own."""

    services: Services
    client: httpx.AsyncClient
    loader: Loader
    store: Path
    settings: Settings
    failures: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def newcomer(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client of another ingress, which starts now."""
        services = build_services(
            self.settings,
            predictors=self.services.predictors,
            loaders=self.services.loaders,
            replica_id=f"newcomer-{next(numbers)}",
        )
        app = create_app(services)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url=self.client.base_url) as client,
        ):
            yield client

    async def upload(self, name: str) -> httpx.Response:
        """A new model that answers ``a + 2 b + number``."""
        number = next(numbers)
        model = LinearRegression().fit(FEATURES, FEATURES @ [1.0, 2.0] + number)
        return await self.client.post(
            "/api/v1/models",
            files={"file": ("m.bin", as_bytes(model, "joblib"))},
            data={"name": name, "description": str(number)},
        )

    async def new_key(self) -> httpx.Response:
        """A write that needs the registry."""
        body = {"name": f"key-{next(numbers)}"}
        return await self.client.post("/api/v1/api-keys", json=body)

    async def predict(self, name: str, first: float) -> httpx.Response:
        """One prediction."""
        return await self.client.post(
            f"/api/v1/models/{name}/predict", json={"instances": [[first, 0.0]]}
        )

    async def predict_many(self, name: str, count: int = 100) -> Counter[object]:
        """Outcomes of predictions whose values are checked."""
        outcomes: Counter[object] = Counter()
        known = float(name.rsplit("-", 1)[1])
        for _ in range(count):
            first = float(next(numbers))
            answer = await self.predict(name, first)
            is_right = answer.status_code == 200 and np.isclose(
                answer.json()["predictions"][0], first + known
            )
            outcomes["right" if is_right else (answer.status_code, answer.text)] += 1
        return outcomes


@contextmanager
def stopped(pid: int | None) -> Iterator[None]:
    """The server and its children answer nothing, but their sockets stay."""
    assert pid is not None
    server = psutil.Process(pid)
    family = [server, *server.children(recursive=True)]
    for process in family:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in family:
            os.kill(process.pid, signal.SIGCONT)


async def until(
    attempt: Callable[[], Awaitable[httpx.Response]], status: int, *, within_s: float
) -> None:
    """Return once ``attempt`` is answered with ``status``."""
    deadline = time.monotonic() + within_s
    while (answer := await attempt()).status_code != status:
        assert time.monotonic() < deadline, answer.text


async def refused_s(attempt: Callable[[], Awaitable[httpx.Response]]) -> float:
    """Seconds that a 503 with Retry-After took."""
    started = time.perf_counter()
    answer = await attempt()
    elapsed_s = time.perf_counter() - started
    assert answer.status_code == 503, answer.text
    assert "Retry-After" in answer.headers
    return elapsed_s


def nearly_slowest(seconds: list[float]) -> float:
    """The slowest but two of twenty: one look in a second tries the server for real."""
    return sorted(seconds)[-3]

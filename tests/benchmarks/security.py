"""
What security costs a prediction: ``make bench-security``.

The whole application in one process, over real PostgreSQL and Valkey, without sockets: an iris row
by the short path, with an API key.  Identity, limits, headers and validation are switched off one
by one and all together; rounds of each alternate, so that a busy machine hits all alike, and what
counts is the median of the differences within a round.  Processor time of the event loop's thread.
"""

import argparse
import asyncio
import gc
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import numpy as np
import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from cluster.contracts import Batch
from cluster.embedded import EmbeddedPostgres, EmbeddedValkey
from cluster.request_context import RequestFacts
from serve_app.middleware.outermost import FACTS, PASSED, Outermost, restore_context
from serve_app.registry.migrate import upgrade
from serve_app.security.decisions import UNLIMITED, Decision
from serve_app.security.principals import Principal
from tests.benchmarks.house import House, opened
from tests.benchmarks.run import machine_facts

PARTS = ("identity", "limits", "headers", "validation")
#: What the four may cost together; µs of processor time a request.
GOAL_US = 60.0
_PATCHED = "serve_app.api.predict"


class _Bare:
    """Stands for the outermost middleware: the context that the application needs, nothing else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on."""
        scope[PASSED], scope[FACTS] = "0" * 32, RequestFacts()
        restore_context(scope)
        await self._app(scope, receive, send)


@contextmanager
def without(house: House, off: frozenset[str]) -> Iterator[ASGIApp]:
    """The application with these parts switched off."""
    services = house.services

    async def anybody(*_: object) -> Principal:
        return house.principal

    with ExitStack() as stack:
        enter = stack.enter_context
        if "identity" in off:
            enter(mock.patch("serve_app.api.prediction_route._identify", anybody))
        if "limits" in off:
            enter(mock.patch.object(services.limits, "try_take", _unlimited))
        if "validation" in off:
            enter(mock.patch(f"{_PATCHED}.parse_object", orjson.loads))
            enter(mock.patch(f"{_PATCHED}.refuse_unknown", _let_pass))
            enter(mock.patch(f"{_PATCHED}.decode_instances", _unchecked))
        if "headers" in off:
            enter(mock.patch.object(house.app, "_is_plain", _is_plain))
            yield _Bare(house.app)
        else:
            yield Outermost(house.app, settings=services.settings)


# Plain functions, since a Mock that is called costs as much as what it stands for.
def _unlimited(*_: object) -> Decision:
    return UNLIMITED


def _let_pass(*_: object) -> None:
    """Refuse nothing."""


def _is_plain(*_: object) -> bool:
    return True


def _unchecked(_signature: object, rows: list[Any], **_: object) -> Batch:
    return Batch(rows=len(rows), matrix=np.array(rows, dtype=np.float64))


async def cost_us(house: House, off: frozenset[str], *, requests: int) -> float:
    """Processor time of one request; µs."""
    with without(house, off) as chain:
        for _ in range(50):
            if await house.answer(chain) != httpx.codes.OK:
                raise RuntimeError("a prediction failed")
        began_s = time.thread_time()
        for _ in range(requests):
            await house.answer(chain)
        return (time.thread_time() - began_s) / requests * 1e6


async def measured(house: House, *, rounds: int, requests: int) -> dict[str, Any]:
    """Medians over the rounds; µs."""
    variants = {part: frozenset({part}) for part in PARTS}
    variants |= {"everything": frozenset(PARTS), "nothing": frozenset()}
    found: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds):
        names = list(variants)
        # Each takes each place once in so many rounds.
        for name in names[number % len(names) :] + names[: number % len(names)]:
            gc.collect()
            found[name].append(await cost_us(house, variants[name], requests=requests))
    saved = {
        name: statistics.median(
            on - off for on, off in zip(found["nothing"], found[name], strict=True)
        )
        for name in (*PARTS, "everything")
    }
    return {
        "request_us": round(statistics.median(found["nothing"]), 1),
        "without_us": {name: round(statistics.median(found[name]), 1) for name in saved},
        "cost_us": {name: round(saved[name], 1) for name in PARTS},
        "together_us": round(saved["everything"], 1),
        "together_rounds_us": [
            round(on - off, 1)
            for on, off in zip(found["nothing"], found["everything"], strict=True)
        ],
        "goal_us": GOAL_US,
        "rounds": rounds,
        "requests": requests,
    }


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=18)
    parser.add_argument("--requests", type=int, default=1000, help="of each variant, a round")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/security.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        home = Path(directory)
        postgres, valkey = EmbeddedPostgres(home), EmbeddedValkey(home)
        try:
            database_url, redis_url = postgres.start(), valkey.start()
            upgrade(database_url)

            async def run() -> dict[str, Any]:
                async with opened(home, database_url, redis_url) as house:
                    return await measured(house, rounds=options.rounds, requests=options.requests)

            found = {"machine": machine_facts(), **asyncio.run(run())}
        finally:
            valkey.stop()
            postgres.stop()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: found[name] for name in found if name != "machine"}, indent=1))


if __name__ == "__main__":
    main()

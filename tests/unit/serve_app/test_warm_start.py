"""An ingress comes late rather than ignorant, but it comes."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from cluster.errors import RegistryUnavailable
from serve_app.warm_start import warm_start

pytestmark = pytest.mark.anyio


@dataclass
class Registry:
    """Stands for the follower and for both caches."""

    is_read: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None
    preloads: int = 0

    async def wait_live(self) -> None:
        await self.is_read.wait()

    async def preload(self) -> int:
        if self.error is not None:
            raise self.error
        self.preloads += 1
        return 1

    async def warm(self, patience_s: float) -> None:
        itself = cast("Any", self)
        await warm_start(itself, itself, itself, patience_s=patience_s)


async def test_it_waits_for_the_registry_and_asks_for_keys_and_models() -> None:
    registry = Registry()
    warming = asyncio.create_task(registry.warm(30))
    await asyncio.wait({warming}, timeout=0)
    assert not warming.done()

    registry.is_read.set()
    await warming

    assert registry.preloads == 2


async def test_it_starts_without_a_registry_that_stays_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await Registry().warm(0.01)

    assert "starting without the registry" in caplog.text


async def test_it_starts_without_one_that_goes_away_meanwhile(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry = Registry(error=RegistryUnavailable("away", retry_after_s=1))
    registry.is_read.set()

    await registry.warm(30)

    assert "starting without the registry" in caplog.text

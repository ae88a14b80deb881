"""A Predictor in a process of its own that crashes on the deadly number; run by its test."""

import asyncio
import pickle
import sys
from pathlib import Path

from cluster.settings import Settings
from deployments.black_box import BlackBox
from deployments.engines.loaded import LoadedModel
from deployments.predictor import Predictor
from tests.unit.deployments.crashing_zygote import run_or_crash

ACTOR = "abcdef"


class Shelf:
    """Gives the bytes it was given."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def fetch(self, _sha256: str, _size_bytes: int) -> bytes:
        """The bytes."""
        return self._content


async def main(home: Path, job: bytes) -> None:
    """Answer the calls in ``job``, printing each first value."""
    content, calls = pickle.loads(job)
    LoadedModel.run = run_or_crash  # type: ignore[method-assign]  # the injected fault
    box = BlackBox(home / "replicas", ACTOR, slots=4)
    settings = Settings(_env_file=None, slipway_home=home)
    predictor = Predictor(Shelf(content), settings=settings, black_box=box)
    for call in calls:
        reply = await predictor.predict(call)
        print(reply.values[0], flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()))

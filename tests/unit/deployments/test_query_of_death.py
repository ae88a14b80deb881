"""A real segmentation fault, from the Predictor that dies of it to the sandbox that shows it."""

import asyncio
import hashlib
import pickle
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from cluster.contracts import Batch, PredictCall, VersionRef
from cluster.errors import ModelQuarantined
from cluster.settings import Settings
from deployments.black_box import find_last_words
from deployments.intake.sandbox import Sandbox
from deployments.loader import Loader
from deployments.signatures.derive import derive_signature
from serve_app.local import LocalLoaders
from serve_app.trials import Trials
from tests.unit.deployments import crashing_predictor, crashing_zygote
from tests.unit.deployments.told_sandbox import request_for

pytestmark = pytest.mark.anyio
REPOSITORY = Path(__file__).resolve().parents[3]
ROWS = np.random.default_rng(0).normal(size=(30, 2))
MODEL = LinearRegression().fit(ROWS, ROWS @ [1.0, 2.0] + 3)
CONTENT = pickle.dumps(MODEL)


def call(first: float) -> PredictCall:
    version = VersionRef(
        model_id="m",
        version=1,
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        size_bytes=len(CONTENT),
        format="pickle",
        engines={"predict": "native"},
    )
    return PredictCall(
        version=version,
        signature=derive_signature(MODEL),
        method="predict",
        batch=Batch(rows=1, matrix=np.array([[first, 0.0]])),
        timeout_s=60,
    )


def serve(home: Path, *calls: PredictCall) -> subprocess.CompletedProcess[str]:
    """A Predictor in a process of its own answers the calls in turn."""
    job = home / "job.pickle"
    job.write_bytes(pickle.dumps((CONTENT, calls)))
    return subprocess.run(
        [sys.executable, "-m", crashing_predictor.__name__, str(home), str(job)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@dataclass
class Registry:
    """Remembers what a trial came to."""

    charged: list[str] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)

    async def charge(self, version: VersionRef, _replica_id: str) -> int:
        self.charged.append(version.key)
        return len(self.charged)

    async def quarantine(self, version: VersionRef, *, reason: str, replica_id: str) -> bool:
        self.quarantined.append(f"{version.key} {reason} {replica_id}")
        return True


@pytest.fixture
async def loader(tmp_path: Path) -> AsyncIterator[Loader]:
    command = (str(Path(str(crashing_zygote.__file__))),)
    made = Loader(
        settings=Settings(_env_file=None, slipway_home=tmp_path),
        sandbox=Sandbox(zygote_command=command),
    )
    await made.vet(CONTENT, request_for(CONTENT))
    yield made
    made.close()


async def test_the_deadly_input_is_found_out_and_the_version_held_back(
    loader: Loader, tmp_path: Path
) -> None:
    died = await asyncio.to_thread(serve, tmp_path, call(1.0), call(crashing_zygote.DEADLY))
    registry = Registry()
    trials = Trials(
        LocalLoaders(loader),
        registry,
        find_last_words=lambda actor_id: find_last_words(tmp_path / "replicas", actor_id),
    )
    with pytest.raises(ModelQuarantined):
        await trials.hear(call(crashing_zygote.DEADLY), crashing_predictor.ACTOR)

    assert died.returncode == -signal.SIGSEGV
    assert float(died.stdout) == pytest.approx(4.0)
    assert registry.quarantined == [f"m/1 replay {crashing_predictor.ACTOR}"]


async def test_an_innocent_input_in_flight_at_the_crash_is_only_charged(
    loader: Loader, tmp_path: Path
) -> None:
    await asyncio.to_thread(serve, tmp_path, call(crashing_zygote.DEADLY))
    registry = Registry()
    trials = Trials(
        LocalLoaders(loader),
        registry,
        find_last_words=lambda actor_id: find_last_words(tmp_path / "replicas", actor_id),
    )
    await trials.hear(call(1.0), crashing_predictor.ACTOR)

    assert (registry.charged, registry.quarantined) == (["m/1"], [])

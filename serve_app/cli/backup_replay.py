"""After a restore: whether models answer what they answered when they were uploaded."""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import get_args

from cluster.artifacts import ArtifactStore
from cluster.contracts import ArtifactFormat, VetRequest
from cluster.errors import InvalidInput, PlatformError, UploadRefused
from cluster.settings import Settings
from serve_app.registry.recorded_answers import RecordedAnswers, recorded_answers

#: Versions that are asked again, newest first, and the seconds that may take: what a restore of
#: 1 GB leaves of two minutes.
VERSIONS_MAX = 100
SECONDS_MAX = 45.0
#: Versions that are asked at a time, each in a sandboxed child.
LANES = 2
_ALL_FORMATS: tuple[ArtifactFormat, ...] = get_args(ArtifactFormat)


@dataclass(kw_only=True)
class Replayed:
    """What came of asking again."""

    versions: int = 0
    #: Recorded rows whose answers were compared.
    predictions: int = 0
    #: Versions that were not asked for lack of time or of a sandbox.
    skipped: int = 0
    #: A sentence for each version that answers differently, or is refused now.
    differences: list[str] = field(default_factory=list)


def replay_recorded(url: str, store: ArtifactStore, settings: Settings) -> Replayed:
    """Vet live versions again through the intake, and compare their recorded answers."""
    recorded = recorded_answers(url, limit=VERSIONS_MAX)
    if not recorded:
        return Replayed()
    return asyncio.run(_replay(recorded, store, settings))


async def _replay(
    recorded: list[RecordedAnswers], store: ArtifactStore, settings: Settings
) -> Replayed:
    # Imported here: the sandbox brings scikit-learn, which no other command needs.
    from deployments.intake.operator_names import limits_of, read_extra_names
    from deployments.intake.sandbox import Sandbox

    replayed = Replayed()
    deadline_s = time.monotonic() + SECONDS_MAX
    sandbox = Sandbox(limits_of(settings), read_extra_names(settings), lanes=LANES)
    turns = asyncio.Semaphore(LANES)

    async def ask(version: RecordedAnswers) -> None:
        async with turns:
            if time.monotonic() > deadline_s:
                replayed.skipped += 1
                return
            content = await asyncio.to_thread(store.get, version.sha256, version.size_bytes)
            await _ask(sandbox.vet(content, vet_request(version)), version, replayed)

    sandbox.start()
    try:
        await asyncio.gather(*map(ask, recorded))
    finally:
        sandbox.stop()
    return replayed


async def _ask(vetting: Awaitable[object], version: RecordedAnswers, replayed: Replayed) -> None:
    try:
        await vetting
    except (UploadRefused, InvalidInput) as refusal:
        replayed.differences.append(f"{version.label}: {refusal.message}")
    except PlatformError:
        replayed.skipped += 1
        return
    replayed.versions += 1
    replayed.predictions += version.predictions


def vet_request(version: RecordedAnswers) -> VetRequest:
    """A vetting that compares with what the version answered when it was uploaded."""
    return VetRequest(
        sha256=version.sha256,
        size_bytes=version.size_bytes,
        allowed_formats=_ALL_FORMATS,  # permitted when it was uploaded
        examples=version.examples,
        recorded_canary=version.canary,
    )

"""
``slipway models revet``: every stored version through the gates of the libraries installed here.

Nothing is changed.  Ahead of an upgrade it is run from an environment that has the new libraries,
with the settings of the platform; after a restore, on the new host.
"""

import asyncio
from dataclasses import asdict, dataclass
from typing import Literal

from cluster.artifacts import ArtifactStore, open_store
from cluster.contracts import JsonObject
from cluster.errors import (
    ArtifactCorrupt,
    InvalidInput,
    PlatformError,
    UploadRefused,
)
from cluster.settings import Settings
from serve_app.cli import local
from serve_app.cli.backup_replay import vet_request
from serve_app.cli.output import AsJson, emit, say
from serve_app.registry.recorded_answers import RecordedAnswers, recorded_answers

#: More versions than a registry holds.
EVERY_VERSION = 1_000_000
Verdict = Literal["accepted", "refused", "undecided"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Revetted:
    """What the gates of now say to one version."""

    #: ``<name> version <number>``.
    version: str
    sha256: str
    #: ``undecided`` where the file cannot be read, or this machine could not try it.
    verdict: Verdict
    #: Rows whose recorded answers were compared.
    predictions: int
    code: str | None = None
    gate: str | None = None
    error: str | None = None
    warnings: tuple[str, ...] = ()


def revet(as_json: AsJson = False) -> None:
    """Try every stored version under the libraries installed here; change nothing."""
    settings = local.local_settings()
    with local.database_url(settings) as url:
        recorded = recorded_answers(url, limit=EVERY_VERSION)
        found = asyncio.run(_revet(recorded, open_store(settings), settings))
    emit(_document(found), _lines(found), as_json=as_json)
    bad = [item for item in found if item.verdict != "accepted"]
    if bad:
        raise PlatformError(
            f"{len(bad)} of {len(found)} versions would not be served by this environment: have "
            "their owners fit and upload them again, or stay with the libraries of now"
        )


async def _revet(
    recorded: list[RecordedAnswers], store: ArtifactStore, settings: Settings
) -> list[Revetted]:
    # Imported here: the sandbox brings scikit-learn, which no other command needs.
    from deployments.intake.operator_names import limits_of, read_extra_names
    from deployments.intake.sandbox import Sandbox

    sandbox = Sandbox(limits_of(settings), read_extra_names(settings), lanes=1)
    sandbox.start()
    try:
        found = []
        for number, version in enumerate(recorded, 1):
            say(f"{number} of {len(recorded)}: {version.label}")
            try:
                content = await asyncio.to_thread(store.get, version.sha256, version.size_bytes)
                report = await sandbox.vet(content, vet_request(version))
            except PlatformError as error:
                found.append(_not_accepted(version, error))
            else:
                found.append(_revetted(version, "accepted", warnings=report.warnings))
        return found
    finally:
        sandbox.stop()


def _not_accepted(version: RecordedAnswers, error: PlatformError) -> Revetted:
    gate = error.context.get("gate")
    # What the sandbox alone refuses may be this machine's load or kernel.
    is_refused = isinstance(error, (UploadRefused, InvalidInput)) and gate != "sandbox"
    is_refused |= isinstance(error, ArtifactCorrupt)
    return _revetted(
        version,
        "refused" if is_refused else "undecided",
        code=error.public_code,
        gate=None if gate is None else str(gate),
        error=error.message,
    )


def _revetted(
    version: RecordedAnswers,
    verdict: Verdict,
    *,
    code: str | None = None,
    gate: str | None = None,
    error: str | None = None,
    warnings: tuple[str, ...] = (),
) -> Revetted:
    return Revetted(
        version=version.label,
        sha256=version.sha256,
        verdict=verdict,
        predictions=version.predictions,
        code=code,
        gate=gate,
        error=error,
        warnings=warnings,
    )


def _document(found: list[Revetted]) -> JsonObject:
    from deployments.intake.libraries import library_versions

    counts = {
        verdict: sum(item.verdict == verdict for item in found)
        for verdict in ("accepted", "refused", "undecided")
    }
    libraries = library_versions(frozenset())
    return {**counts, "libraries": libraries, "versions": [asdict(item) for item in found]}


def _lines(found: list[Revetted]) -> list[str]:
    lines = [
        f"{item.version}: {item.verdict}" + (f": {item.error}" if item.error else "")
        for item in found
        if item.verdict != "accepted"
    ]
    compared = sum(item.predictions for item in found if item.verdict == "accepted")
    accepted = sum(item.verdict == "accepted" for item in found)
    return [
        *lines,
        f"{accepted} of {len(found)} versions are accepted; {compared} recorded predictions equal",
    ]

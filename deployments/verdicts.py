"""
Which stored files are fit to be released, under which libraries, and what their canary answered.

A note beside each artifact; a cache, not a record: whoever loses it vets again.
"""

import json
from dataclasses import dataclass
from typing import Any

from cluster.artifacts import ArtifactStore
from cluster.contracts import CompiledForm, JsonObject
from cluster.errors import PlatformError, UploadRefused
from deployments.intake.protocol import BrokenFrame
from deployments.intake.verdict import error_from_json, error_to_json

#: Verdicts of as many library sets are kept, so that a rollback does not vet again.
MAX_VERDICTS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What is known of a file under the libraries of now."""

    #: Why the file may not be released; ``None`` where it may.
    refusal: PlatformError | None
    #: Name of the arrays for the short path; ``None`` where there are none.
    compiled: CompiledForm | None = None


class Verdicts:
    """
    The notes of one store, read and written under one set of libraries.  Blocking.

    Args:
        store: Where artifacts and notes lie.
        key: ``libraries.verdict_key``: equal for equal libraries.
    """

    def __init__(self, store: ArtifactStore, key: str) -> None:
        self._store = store
        self._key = key

    def find(self, sha256: str) -> Verdict | None:
        """The verdict under these libraries, if there is one; raises ModelUnavailable."""
        verdict = self._note(sha256)["verdicts"].get(self._key)
        if not isinstance(verdict, dict):
            return None
        if verdict.get("accepted") is True:
            return Verdict(refusal=None, compiled=_compiled(verdict.get("compiled")))
        try:
            return Verdict(refusal=error_from_json(verdict))
        except BrokenFrame:
            return None

    def find_canary(self, sha256: str) -> JsonObject:
        """Rows and answers recorded at the first vetting; empty if none are known."""
        canary: JsonObject = self._note(sha256)["canary"]
        return canary

    def accept(self, sha256: str, canary: JsonObject, compiled: CompiledForm | None = None) -> None:
        """Record that the file passed; the first canary stays.  Raises as ``put_note`` does."""
        verdict: JsonObject = {"accepted": True}
        if compiled is not None:
            verdict["compiled"] = {"sha256": compiled.sha256, "size_bytes": compiled.size_bytes}
        self._record(sha256, verdict, canary)

    def refuse(self, sha256: str, refusal: UploadRefused) -> None:
        """Record that the stored file no longer passes.  Raises as ``put_note`` does."""
        self._record(sha256, error_to_json(refusal), {})

    def _record(self, sha256: str, verdict: JsonObject, canary: JsonObject) -> None:
        note = self._note(sha256)
        verdicts: dict[str, Any] = note["verdicts"]
        verdicts.pop(self._key, None)  # the newest stands last
        verdicts[self._key] = verdict
        kept = dict(list(verdicts.items())[-MAX_VERDICTS:])
        document = {"canary": note["canary"] or canary, "verdicts": kept}
        # Two Loaders may write at once: the loser's verdict is only found out again.
        self._store.put_note(sha256, json.dumps(document, allow_nan=False).encode())

    def _note(self, sha256: str) -> JsonObject:
        content = self._store.find_note(sha256)
        try:
            note = json.loads(content or b"{}")
        except ValueError:
            note = {}
        if not isinstance(note, dict):
            note = {}
        return {
            name: note[name] if isinstance(note.get(name), dict) else {}
            for name in ("canary", "verdicts")
        }


def _compiled(noted: object) -> CompiledForm | None:
    if not isinstance(noted, dict):
        return None
    sha256, size_bytes = noted.get("sha256"), noted.get("size_bytes")
    if not isinstance(sha256, str) or type(size_bytes) is not int:
        return None
    return CompiledForm(sha256=sha256, size_bytes=size_bytes)

"""
A pytest plugin that keeps every file which the corpus' unit tests see refused.

The tests that prove the verdicts at the door of gates 0 to 3 are thereby the one place where the
corpus is made; ``test_corpus_http`` sends the same files through the whole platform.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster.errors import UploadRefused
from deployments.intake import formats, reader

DIRECTORY_VARIABLE = "SLIPWAY_CORPUS_DIRECTORY"
#: Of the bit flips and the like, that come by the thousand.
MAX_OF_ONE_TEST = 20


class Recorder:
    """Files by their digest, and a line about each in ``index.jsonl``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._kept: set[str] = set()
        self._counts: Counter[str] = Counter()

    def keep(self, content: bytes, refusal: UploadRefused) -> None:
        """Write the file down, with the test that made it and the reason it met."""
        digest = hashlib.sha256(content).hexdigest()
        test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
        if digest in self._kept or self._counts[test] >= MAX_OF_ONE_TEST:
            return
        self._kept.add(digest)
        self._counts[test] += 1
        (self._directory / digest).write_bytes(content)
        line = {"sha256": digest, "test": test, "reason": refusal.context.get("reason")}
        with (self._directory / "index.jsonl").open("a", encoding="utf-8") as index:
            index.write(json.dumps(line) + "\n")

    def watch(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """``call``, whose first argument is a file; kept if the limits of a server refuse it."""

        def watched(content: bytes, *args: Any, **options: Any) -> Any:
            try:
                return call(content, *args, **options)
            except UploadRefused as refusal:
                if options.pop("limits", None) is not None:
                    self._keep_if_refused(call, content, *args, **options)
                else:
                    self.keep(content, refusal)
                raise

        return watched

    def _keep_if_refused(
        self, call: Callable[..., Any], content: bytes, *args: Any, **options: Any
    ) -> None:
        try:
            call(content, *args, **options)
        except UploadRefused as refusal:
            self.keep(content, refusal)


def pytest_configure(config: pytest.Config) -> None:
    """Stand before the doors that the tests are about to import."""
    recorder = Recorder(Path(os.environ[DIRECTORY_VARIABLE]))
    doors: Any = reader
    doors.construct = recorder.watch(reader.construct)
    doors.read_model_with_notes = recorder.watch(reader.read_model_with_notes)
    gate0: Any = formats
    gate0.detect = recorder.watch(formats.detect)

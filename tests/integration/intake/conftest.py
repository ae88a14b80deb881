"""The whole platform in one process, as ``models_api`` has it, and the corpus as files."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.intake.corpus_recorder import DIRECTORY_VARIABLE
from tests.integration.models_api.real_platform import Platform, real_platform

__all__ = ["Platform", "real_platform"]
ROOT = Path(__file__).resolve().parents[3]
UNIT = ROOT / "tests" / "unit" / "deployments" / "intake"


@dataclass(frozen=True, kw_only=True)
class HostileFile:
    """One file, the unit test that made it, and why gates 0 to 3 refused it."""

    content: bytes
    test: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Every hostile file, and the directory in which their payloads would leave a mark."""

    files: tuple[HostileFile, ...]
    markers: Path

    def left_marks(self) -> list[Path]:
        """What payloads left behind; must be empty."""
        return list(self.markers.rglob("escaped*"))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The corpus, made anew by the unit tests that know it."""
    kept, markers = tmp_path_factory.mktemp("corpus"), tmp_path_factory.mktemp("marks")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("-p", "tests.integration.intake.corpus_recorder", f"--basetemp={markers}"),
            *sorted(str(path) for path in UNIT.glob("test_corpus_*.py")),
        ],
        cwd=ROOT,
        env={**os.environ, DIRECTORY_VARIABLE: str(kept), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    lines = (kept / "index.jsonl").read_text(encoding="utf-8").splitlines()
    files = tuple(
        HostileFile(
            content=(kept / noted["sha256"]).read_bytes(),
            test=noted["test"],
            reason=noted["reason"],
        )
        for noted in map(json.loads, lines)
    )
    return Corpus(files=files, markers=markers)

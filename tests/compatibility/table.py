"""
Models of older scikit-learn versions against this intake: ``python -m tests.compatibility.table``.

Makes an environment for each version, lets ``maker.py`` save its models there, reads them here,
and writes ``docs/compatibility.md``.  Each model is accepted and answers with the same bits, or is
refused as ``sklearn_version``; the exit code is 1 if any is neither.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sklearn

from cluster.errors import UploadRefused
from deployments.intake.reader import construct
from tests.compatibility.maker import answers, rows_of

VERSIONS = ("1.5", "1.6", "1.7", "1.8")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"


@dataclass(kw_only=True)
class Outcome:
    """What became of one version's models."""

    #: Of the libraries that made the models.
    libraries: dict[str, str]
    #: Names of models, by what became of both of their files.
    equal: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    #: Sentences; must be empty.
    wrong: list[str] = field(default_factory=list)


def read_back(directory: Path, made: dict[str, Any]) -> Outcome:
    """Every model in ``directory`` through gates 1 to 3, compared with its recorded answers."""
    libraries = {key: value for key, value in made.items() if key != "names"}
    outcome = Outcome(libraries=libraries)
    for name in made["names"]:
        for saved in ("pkl", "joblib"):
            path = directory / f"{name}.{saved}"
            try:
                model = construct(
                    path.read_bytes(), "pickle" if saved == "pkl" else "joblib"
                ).estimator
            except UploadRefused as error:
                _note_refusal(outcome, name, error)
                continue
            differing = list(_differences(directory / f"{name}.npz", model, rows_of(name)))
            outcome.wrong += [f"{name} ({saved}): {said}" for said in differing]
            if not differing:
                outcome.equal.append(name)
    return outcome


def _note_refusal(outcome: Outcome, name: str, error: UploadRefused) -> None:
    names_both = sklearn.__version__ in error.message
    names_both &= outcome.libraries["sklearn"] in error.message
    if error.public_code == "sklearn_version" and names_both:
        outcome.refused.append(name)
    else:
        outcome.wrong.append(f"{name}: {error.message}")


def _differences(path: Path, model: Any, rows: Any) -> Iterator[str]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = answers(model, rows)
    with np.load(path, allow_pickle=False) as expected:
        for method in expected.files:
            was, now = expected[method], found.get(method)
            if now is None:
                yield f"{method} fails"
            elif was.dtype != now.dtype or was.shape != now.shape:
                yield f"{method} answers {now.dtype} {now.shape}, not {was.dtype} {was.shape}"
            elif was.tobytes() != now.tobytes():
                kind = was.dtype.kind
                yield f"{method} differs" + (f" by {_gap(was, now):.1e}" if kind == "f" else "")


def _gap(was: Any, now: Any) -> float:
    return float(np.nanmax(np.abs(was - now)))


def make(version: str, work: Path) -> tuple[Path, dict[str, Any]]:
    """A directory of models saved by ``version``, and what ``maker.py`` said of them."""
    environment, directory = work / f"env-{version}", work / f"models-{version}"
    if not (environment / "bin" / "pip").exists():
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        packages = [f"scikit-learn=={version}.*", "pandas", "joblib"]
        pip = str(environment / "bin" / "pip")
        subprocess.run([pip, "install", "--quiet", *packages], check=True)
    script = Path(__file__).with_name("maker.py")
    done = subprocess.run(
        [str(environment / "bin" / "python"), str(script), str(directory)],
        capture_output=True,
        text=True,
        check=True,
        cwd=work,
    )
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return directory, said


def page(outcomes: dict[str, Outcome]) -> str:
    """The document."""
    lines = [
        "# Models of other scikit-learn versions",
        "",
        f"This server has scikit-learn {sklearn.__version__}. It takes models of the same minor",
        "version, and of the one before it with a warning in the answer to the upload. All others",
        "are refused with the code `sklearn_version`; the sentence names both versions. Some",
        "classes of the previous version would answer differently here, because scikit-learn",
        "changed how they compute: those are refused in the same way.",
        "",
        "Made by `python -m tests.compatibility.table`: each version's models are fitted and",
        "saved (pickle, and joblib compressed) in an environment of their own, read by the",
        "intake, and asked the same rows; *equal* means the same bits.",
        "",
        "| Made with | numpy, scipy | Models | Equal | Refused `sklearn_version` | Neither |",
        "|---|---|---|---|---|---|",
    ]
    for outcome in outcomes.values():
        of = outcome.libraries
        refused, equal = set(outcome.refused), set(outcome.equal) - set(outcome.refused)
        lines.append(
            f"| {of['sklearn']} | {of['numpy']}, {of['scipy']} | {len(refused | equal)} "
            f"| {len(equal)} | {len(refused)} | {len(outcome.wrong)} |"
        )
    for version, outcome in outcomes.items():
        equal = set(outcome.equal)
        if equal and outcome.refused:
            names = ", ".join(sorted(set(outcome.refused)))
            lines += ["", f"Refused of {version}: {names}."]
        if outcome.wrong:
            lines += ["", f"Neither, of {version}:", "", *(f"- {said}" for said in outcome.wrong)]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Make, read, write the page."""
    parser = argparse.ArgumentParser(description="compatibility with older scikit-learn")
    parser.add_argument("--versions", nargs="+", default=VERSIONS)
    parser.add_argument("--work", type=Path, help="keeps environments and models; else temporary")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        outcomes = {version: read_back(*make(version, work)) for version in options.versions}
    PAGE.write_text(page(outcomes), encoding="utf-8")
    wrong = [said for outcome in outcomes.values() for said in outcome.wrong]
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""
Brings into the zygote everything that a child may need: a locked-down child can open no file.

First every module that the lists name, then a rehearsal: models of our own are vetted once, so
that whatever a library imports or opens lazily is there before the first upload.
"""

import hashlib
import importlib
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np

from cluster.contracts import ArtifactFormat, Examples, VetRequest
from deployments.intake import reviewed
from deployments.intake.globals import derived_kinds
from deployments.intake.vetting import vet

#: Imported lazily by what we use, at a time when it would be too late.
_LATE = (
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "encodings.utf_8",
    "onnx",
    "onnxruntime",
    "pandas",
    "skops.io",
    "zipfile",
)
_OURS = ("engines", "intake", "signatures")
#: Programs and their parts, and the parent's side.
_LEFT_OUT = frozenset(
    {"__init__", "zygote", "zygote_client", "job_watch", "sandbox", "derive_globals", "derivation"}
)
logger = logging.getLogger(__name__)


def preload(extra_names: frozenset[str]) -> None:
    """Return once a child will find everything in memory; takes some seconds."""
    modules = {module for module, _ in derived_kinds()} | set(reviewed.REFERENCES)
    for module in sorted(modules | set(_LATE) | _our_own()):
        importlib.import_module(module)
    for name in sorted(extra_names):
        _import_operators_own(name)
    rehearse(extra_names)


def rehearse(extra_names: frozenset[str] = frozenset()) -> None:
    """
    Vet one small model of each kind, with the operator's list as a child will have it.

    Raises:
        UploadRefused: The gates refuse our own models: nothing else would pass either.
    """
    for content, examples in _specimens():
        request = VetRequest(
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=len(content),
            allowed_formats=get_args(ArtifactFormat),
            examples=examples,
        )
        vet(content, request, extra_names=extra_names)


def _our_own() -> set[str]:
    """Everything of ours that may run in a child, its lazily imported readers among them."""
    root = Path(__file__).resolve().parents[1]
    return {
        ".".join((root.name, *path.relative_to(root).with_suffix("").parts))
        for package in _OURS
        for path in (root / package).rglob("*.py")
        if not _LEFT_OUT.intersection(path.with_suffix("").parts)
    }


def _import_operators_own(name: str) -> None:
    module = name.rpartition(".")[0]
    try:
        importlib.import_module(module)
    except Exception:
        # The operator's package may do anything at import; the rest of the intake goes on.
        logger.exception("INTAKE_EXTRA_NAMES: %s cannot be imported", module)


def _specimens() -> Iterator[tuple[bytes, Examples]]:
    import skops.io
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(0)
    rows = random.normal(size=(40, 3))
    classes = (rows[:, 0] > 0).astype(int)
    numbers = Examples(instances=rows[:2].tolist())
    linear = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, classes)
    yield skops.io.dumps(linear), numbers
    forest = RandomForestClassifier(5, random_state=0).fit(rows, classes)
    yield pickle.dumps(forest), numbers
    yield pickle.dumps(KNeighborsRegressor().fit(rows, rows[:, 0])), numbers
    words = ["good cheap model", "bad late price", "good doctor", "bad space game"]
    text = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(words, [1, 0, 1, 0])
    yield pickle.dumps(text), Examples(instances=words)
    yield pickle.dumps(_fitted_on_a_frame(rows, classes)), _frame_examples()


def _fitted_on_a_frame(rows: Any, classes: Any) -> Any:
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    frame = pd.DataFrame({"size": rows[:, 0], "kind": np.where(classes, "flat", "house")})
    prepare = make_column_transformer(
        (SimpleImputer(), ["size"]), (OneHotEncoder(sparse_output=False), ["kind"])
    )
    return make_pipeline(prepare, HistGradientBoostingClassifier(max_iter=3)).fit(frame, classes)


def _frame_examples() -> Examples:
    return Examples(instances=[{"size": 1.0, "kind": "flat"}, {"size": None, "kind": "house"}])

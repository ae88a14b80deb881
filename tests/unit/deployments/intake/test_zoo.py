"""
Case 103: every honest model, in every way to save it, is accepted and answers with the same bits.

By default a seeded fifth of the (model, way) pairs, each model in at least one way; the whole
with SLIPWAY_FULL=1.
"""

import io
import os
import pickle
import random
from collections.abc import Iterator
from typing import Any

import joblib
import pytest
import skops.io
from skops.io.exceptions import UnsupportedTypeException

from cluster.contracts import ArtifactFormat
from cluster.errors import UploadRefused
from deployments.intake.derivation.recorder import PROTOCOLS
from deployments.intake.derivation.specimen import Specimen
from deployments.intake.derivation.zoo import SOURCES
from deployments.intake.formats import detect
from deployments.intake.reader import construct
from tests.unit.deployments.intake.zoo_predictions import answers, are_same

WAYS = (*(f"pickle{protocol}" for protocol in PROTOCOLS), "joblib", "gz", "xz", "skops")
IS_FULL = os.environ.get("SLIPWAY_FULL") == "1"
#: skops itself cannot read these back: pandas objects among the parameters.
NOT_IN_SKOPS = frozenset(
    {"Pipeline[frame-values]", "Pipeline[frame-positions]", "SimpleImputer[na]"}
)


def saved(model: Any, way: str) -> bytes | None:
    """``model`` saved in one way; ``None`` where skops cannot."""
    if way.startswith("pickle"):
        return pickle.dumps(model, int(way[-1]))
    if way == "skops":
        try:
            return bytes(skops.io.dumps(model))
        except (UnsupportedTypeException, TypeError, RecursionError):
            return None
    buffer = io.BytesIO()
    compress: Any = {"joblib": 0, "gz": ("gzip", 3), "xz": ("xz", 1)}[way]
    joblib.dump(model, buffer, compress=compress)
    return buffer.getvalue()


def chosen_ways(specimen: Specimen) -> Iterator[str]:
    """The ways in which this specimen is tried; the same ones each time."""
    if IS_FULL:
        yield from WAYS
        return
    draw = random.Random(specimen.name)
    yield from draw.sample(WAYS, 2)


def check(specimen: Specimen, way: str, expected: dict[str, Any]) -> str | None:
    """What is wrong with the model read back, or ``None``."""
    content = saved(specimen.estimator, way)
    if content is None or (way == "skops" and specimen.name in NOT_IN_SKOPS):
        return None
    format_: ArtifactFormat = detect(content)
    try:
        loaded = construct(content, format_).estimator
    except UploadRefused as error:
        return f"{specimen.name} {way}: {error.message}"
    if specimen.inputs is None:
        return None
    found = answers(loaded, specimen.inputs)
    wrong = [method for method in expected if not are_same(expected[method], found.get(method))]
    return f"{specimen.name} {way}: differs in {wrong}" if wrong else None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_honest_models_are_accepted_and_answer_the_same(source: Any) -> None:
    faults = []
    count = 0
    for specimen in source():
        twin = pickle.loads(pickle.dumps(specimen.estimator))  # predicting may draw numbers
        expected = {} if specimen.inputs is None else answers(twin, specimen.inputs)
        for way in chosen_ways(specimen):
            count += 1
            faults.append(check(specimen, way, expected))

    assert [fault for fault in faults if fault] == []
    assert count > 0

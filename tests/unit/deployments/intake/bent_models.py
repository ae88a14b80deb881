"""Models whose numbers were changed after fitting, and how each format of them is refused."""

import io
import pickle
from collections.abc import Iterator
from typing import Any

import joblib
import numpy as np
import pytest
import skops.io

from cluster.contracts import ArtifactFormat
from cluster.errors import UploadRefused
from deployments.intake.reader import read_model

DRAW = np.random.default_rng(0)


X = DRAW.normal(size=(60, 4))


Y = (X[:, 0] > 0).astype(int)


NEVER_FITS = 10**9


def saved(model: Any) -> Iterator[tuple[ArtifactFormat, bytes]]:
    """``model`` in each format that can hold it."""
    yield "pickle", pickle.dumps(model, 5)
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    yield "joblib", buffer.getvalue()
    yield "skops", skops.io.dumps(model)


def assert_refused(model: Any, *reasons: str) -> None:
    """Every format of ``model`` is refused for one of ``reasons``."""
    for format_, content in saved(model):
        with pytest.raises(UploadRefused) as refused:
            read_model(content, format_)
        assert refused.value.context["reason"] in reasons, (format_, refused.value.message)


def _joblib(model: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    return buffer.getvalue()

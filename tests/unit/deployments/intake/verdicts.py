"""The word with which gates 0 to 3 refuse a file."""

import pytest

from cluster.errors import UploadRefused
from deployments.intake.formats import detect
from deployments.intake.reader import read_model

LOGISTIC = ("sklearn.linear_model._logistic", "LogisticRegression")


def reason_of(content: bytes) -> str:
    """The word with which gates 0 to 3 refuse ``content``."""
    with pytest.raises(UploadRefused) as refused:
        read_model(content, detect(content))
    assert refused.value.message
    return str(refused.value.context["reason"])

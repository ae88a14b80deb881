"""Case 102: models of other scikit-learn versions, made by changing what the file says."""

import pickle
import re

import numpy as np
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import PowerTransformer

from cluster.errors import UploadRefused
from deployments.intake.reader import construct, read_model_with_notes
from tests.unit.deployments.intake.hostile import instance, stream, text, value

MAJOR, MINOR = (int(part) for part in sklearn.__version__.split(".")[:2])
X = np.random.default_rng(0).normal(size=(30, 2))


def saved_by(version: str) -> bytes:
    """A fitted model whose file says that ``version`` wrote it."""
    model = LogisticRegression().fit(X, X[:, 0] > 0)
    old, new = sklearn.__version__.encode(), version.encode()
    content = pickle.dumps(model, 2)  # protocol 2 has no frame whose length would change
    before = b"X" + len(old).to_bytes(4, "little") + old
    assert content.count(before) == 1
    return content.replace(before, b"X" + len(new).to_bytes(4, "little") + new)


def test_same_minor_version_is_taken_without_a_word() -> None:
    reading = read_model_with_notes(saved_by(f"{MAJOR}.{MINOR}.99"), "pickle")

    assert reading.notes == ()
    assert reading.versions == (f"{MAJOR}.{MINOR}.99",)


def test_previous_minor_version_is_taken_with_a_warning() -> None:
    version = f"{MAJOR}.{MINOR - 1}.0"
    reading = read_model_with_notes(saved_by(version), "pickle")

    assert len(reading.notes) == 1
    assert version in reading.notes[0]
    assert sklearn.__version__ in reading.notes[0]


@pytest.mark.parametrize(
    "version",
    [f"{MAJOR}.{MINOR - 2}.0", f"{MAJOR}.{MINOR + 1}.0", "0.24.2", f"{MAJOR + 1}.0.0", "nonsense"],
)
def test_other_versions_are_refused_naming_both(version: str) -> None:
    with pytest.raises(UploadRefused, match=re.escape(sklearn.__version__)) as refused:
        read_model_with_notes(saved_by(version), "pickle")

    assert refused.value.public_code == "sklearn_version"
    assert version in refused.value.message


def test_class_that_answers_differently_since_is_refused_naming_both() -> None:
    model = PowerTransformer().fit(X)
    content = pickle.dumps(model, 2)
    older = f"{MAJOR}.{MINOR - 1}.0"
    old, new = sklearn.__version__.encode(), older.encode()
    content = content.replace(
        b"X" + len(old).to_bytes(4, "little") + old, b"X" + len(new).to_bytes(4, "little") + new
    )

    with pytest.raises(UploadRefused, match=re.escape(sklearn.__version__)) as refused:
        construct(content, "pickle")

    assert refused.value.public_code == "sklearn_version"
    assert older in refused.value.message
    assert "PowerTransformer" in refused.value.message


@pytest.mark.parametrize(
    "vanished",
    [
        ("sklearn.ensemble._gb_losses", "BinomialDeviance"),
        # what the losses of 1.5 call their module
        ("_loss", "__pyx_unpickle_CyHalfBinomialLoss"),
    ],
)
def test_vanished_class_of_an_old_version_is_refused_as_its_version(
    vanished: tuple[str, str],
) -> None:
    inner = instance(*vanished, b"}")
    state = b"}(" + text("loss_") + inner + text("_sklearn_version") + text("1.0.2") + b"u"
    content = stream(instance("sklearn.ensemble._gb", "GradientBoostingClassifier", state))

    with pytest.raises(UploadRefused) as refused:
        read_model_with_notes(content, "pickle")

    assert refused.value.public_code == "sklearn_version"


def test_old_version_does_not_hide_a_hostile_name() -> None:
    state = value({"_sklearn_version": "1.0.2"})[:-1] + text("x") + b"cos\nsystem\nsu"
    with pytest.raises(UploadRefused) as refused:
        read_model_with_notes(stream(instance("os", "system", state)), "pickle")

    assert refused.value.context["reason"] == "global"

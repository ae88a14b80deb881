"""
Every scikit-learn estimator in the settings that scikit-learn's own common tests use.

``sklearn.utils._test_common.instance_generator`` is private but is where scikit-learn itself
keeps one working instance (or more) of each class.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import make_blobs
from sklearn.utils._test_common.instance_generator import (
    _tested_estimators,
)
from sklearn.utils.estimator_checks import (
    _enforce_estimator_tags_X,
    _enforce_estimator_tags_y,
)

from deployments.intake.derivation.specimen import Specimen, fitted, quiet

#: Estimators that take no numeric matrix; ``texts`` and ``variants`` fit them on what they take.
ELSEWHERE = frozenset(
    {
        "CountVectorizer",
        "DictVectorizer",
        "LabelBinarizer",
        "LabelEncoder",
        "MultiLabelBinarizer",
        "TfidfVectorizer",
    }
)
_CENTERS = [[0, 0, 0], [1, 1, 1]]


def tested() -> Iterator[Specimen]:
    """Each instance of scikit-learn's common tests, fitted on data of its kind."""
    x, y = make_blobs(30, centers=_CENTERS, random_state=0, cluster_std=0.1)
    with quiet():
        instances = list(_tested_estimators())
    for number, estimator in enumerate(instances):
        if type(estimator).__name__ not in ELSEWHERE:
            yield _fit(estimator, x, y, number)


def _fit(estimator: Any, x: NDArray[np.float64], y: NDArray[np.int64], number: int) -> Specimen:
    own_x = _enforce_estimator_tags_X(estimator, x)
    return fitted(
        estimator, own_x, _enforce_estimator_tags_y(estimator, y), note=f"tested-{number}"
    )

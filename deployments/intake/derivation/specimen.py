"""
One fitted estimator of the zoo with its rows, and the made-up data that it is fitted on.

The zoo is what honest people upload: the allowed names are read off its pickles, and the
acceptance tests demand each of its members back bit-equal.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import make_classification

ROWS = 60
FEATURES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Specimen:
    """A fitted estimator; ``inputs`` are rows for its methods, ``None`` where it has none."""

    name: str
    estimator: Any
    inputs: Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """Made-up training data: ``x`` (ROWS, FEATURES) float64 and several targets (ROWS,)."""

    x: NDArray[np.float64]
    binary: NDArray[np.int64]
    three: NDArray[np.int64]
    numbers: NDArray[np.float64]
    labels: NDArray[np.str_]

    @property
    def positive(self) -> NDArray[np.float64]:
        """``x`` shifted to values of 0.1 and above."""
        return np.asarray(self.x - self.x.min() + 0.1)

    @property
    def multilabel(self) -> NDArray[np.int64]:
        """Two 0/1 columns."""
        return np.column_stack([self.binary, (self.three == 1).astype(np.int64)])


@cache
def data() -> Data:
    """The same data each time."""
    x, three = make_classification(
        ROWS, FEATURES, n_informative=3, n_redundant=0, n_classes=3, random_state=0
    )
    numbers = x @ np.arange(1.0, FEATURES + 1) + 0.1 * three
    binary = (three > 0).astype(np.int64)
    return Data(
        x=x,
        binary=binary,
        three=three.astype(np.int64),
        numbers=numbers,
        labels=np.where(binary == 1, "yes", "no"),
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what fitting on sixty rows provokes: non-convergence and the like."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def fitted(estimator: Any, x: Any, y: Any = None, *, note: str = "") -> Specimen:
    """``estimator`` fitted on ``x`` (and ``y``), named after its class and ``note``."""
    with quiet():
        estimator.fit(x) if y is None else estimator.fit(x, y)
    name = type(estimator).__name__
    return Specimen(name=f"{name}[{note}]" if note else name, estimator=estimator, inputs=x)

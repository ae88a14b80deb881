"""
Linear models in float64 numpy: one matrix product, a link function, a choice of label.

Run-time part only; ``compile_linear.py`` makes these from fitted estimators.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, cast, get_args

import numpy as np
from numpy.typing import NDArray

from cluster.contracts import JsonObject, Method
from cluster.errors import ArtifactCorrupt
from deployments.engines.base import Matrix, Values
from deployments.engines.failures import refuse_non_finite
from deployments.engines.labels import labels_from_json, labels_to_json
from deployments.engines.links import one_against_rest, sigmoid, softmax, two_columns

#: How scores become probabilities; "none" where the estimator has no predict_proba.
LinearLink = Literal["none", "sigmoid", "softmax", "rest"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LinearHead:
    """A linear regressor, or a linear classifier where it has labels."""

    #: (features,) or (outputs, features)
    coefficients: Matrix
    #: (), (1,) or (outputs,)
    intercept: Matrix
    labels: NDArray[Any] | None = None
    link: LinearLink = "none"

    @property
    def methods(self) -> frozenset[Method]:
        """What it answers."""
        if self.labels is None:
            return frozenset({"predict"})
        scored: frozenset[Method] = frozenset({"predict", "decision_function"})
        return scored if self.link == "none" else scored | {"predict_proba"}

    def run(self, method: Method, matrix: Matrix) -> Values:
        """
        Answer prepared rows.

        Raises:
            PredictionFailed: Preparation left a value that is not finite.
        """
        scores = matrix @ self.coefficients.T + self.intercept
        # Finite scores prove finite input: an infinity or NaN never multiplies away.
        if not np.isfinite(scores).all():
            refuse_non_finite(method, matrix)
        if self.labels is None:
            return np.asarray(scores)
        if scores.ndim > 1 and scores.shape[1] == 1:
            scores = scores.reshape(-1)
        if method == "decision_function":
            return np.asarray(scores)
        return self._label(scores) if method == "predict" else self._probabilities(scores)

    def _label(self, scores: Matrix) -> Values:
        chosen = (scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)
        return np.asarray(cast("NDArray[Any]", self.labels).take(chosen))

    def _probabilities(self, scores: Matrix) -> Matrix:
        if scores.ndim == 1:
            return two_columns(sigmoid(scores))
        return softmax(scores) if self.link == "softmax" else one_against_rest(scores)

    def to_arrays(self) -> tuple[JsonObject, dict[str, NDArray[Any]]]:
        """The head as JSON and arrays."""
        labels = None if self.labels is None else labels_to_json(self.labels)
        arrays = {"coefficients": self.coefficients, "intercept": self.intercept}
        return {"labels": labels, "link": self.link}, arrays

    @classmethod
    def from_arrays(cls, meta: JsonObject, arrays: Mapping[str, NDArray[Any]], width: int) -> Self:
        """
        Inverse of ``to_arrays`` for a matrix of ``width`` columns.

        Raises:
            ArtifactCorrupt: Shapes, labels and link do not agree.
        """
        try:
            coefficients, intercept = arrays["coefficients"], arrays["intercept"]
            link, stored = meta["link"], meta["labels"]
        except KeyError as exc:
            raise ArtifactCorrupt(f"the compiled model lacks {exc}") from exc
        labels = None if stored is None else labels_from_json(stored)
        head = cls(coefficients=coefficients, intercept=intercept, labels=labels, link=link)
        head._check(width)
        return head

    def _check(self, width: int) -> None:
        shape = self.coefficients.shape
        if self.coefficients.dtype != np.float64 or self.intercept.dtype != np.float64:
            raise ArtifactCorrupt("the compiled model's coefficients are not float64")
        if not 1 <= len(shape) <= 2 or shape[-1] != width or 0 in shape:  # noqa: PLR2004
            raise ArtifactCorrupt("the compiled model's coefficients do not fit its input")
        outputs = 1 if len(shape) == 1 else shape[0]
        if self.intercept.ndim > 1 or self.intercept.size not in {1, outputs}:
            raise ArtifactCorrupt("the compiled model's intercept does not fit its coefficients")
        if self.link not in get_args(LinearLink):
            raise ArtifactCorrupt("the compiled model's link function is unknown")
        if self.labels is not None and self.labels.size != max(outputs, 2):
            raise ArtifactCorrupt("the compiled model has another number of labels than scores")


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformHead:
    """A pipeline of preparation steps alone: its answer is the prepared matrix."""

    @property
    def methods(self) -> frozenset[Method]:
        """What it answers."""
        return frozenset({"transform"})

    def run(self, method: Method, matrix: Matrix) -> Values:
        """The matrix itself; ``method`` is always ``transform``."""
        del method
        return matrix

    def to_arrays(self) -> tuple[JsonObject, dict[str, NDArray[Any]]]:
        """The head as JSON and arrays: it has neither."""
        return {}, {}

    @classmethod
    def from_arrays(cls, meta: JsonObject, arrays: Mapping[str, NDArray[Any]], width: int) -> Self:
        """Inverse of ``to_arrays``."""
        del meta, arrays, width
        return cls()

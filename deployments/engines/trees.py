"""
Tree ensembles over a ``Forest``: averaging (trees, forests) and boosting, with float64 links.

Run-time part only; ``compile_trees.py`` makes these from fitted estimators.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from cluster.contracts import JsonObject, Method
from cluster.errors import ArtifactCorrupt
from deployments.engines.base import Matrix, Values
from deployments.engines.failures import refuse_non_finite
from deployments.engines.forest import Forest
from deployments.engines.labels import labels_from_json, labels_to_json
from deployments.engines.links import sigmoid, softmax, two_columns

#: How sums become answers: a mean over trees, or the inverse link of a boosting loss.
TreeLink = Literal["mean", "identity", "exp", "sigmoid", "double_sigmoid", "softmax"]
#: Which numbers the estimator takes: rounded to float32, without or with NaN, or any float64.
TreeInput = Literal["float32", "float32_or_missing", "float64"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TreesHead:
    """A forest and what is made of its sums."""

    forest: Forest
    input: TreeInput
    link: TreeLink
    #: Sums of boosting: one a class; 1 where all trees add to the same outputs.
    groups: int = 1
    #: Labels of each output; empty for regressors.
    labels: tuple[NDArray[Any], ...] = ()
    #: Whether a binary score of exactly zero is the second class (GradientBoosting) or the first.
    zero_is_second: bool = False

    @property
    def methods(self) -> frozenset[Method]:
        """What it answers."""
        if not self.labels:
            return frozenset({"predict"})
        both: frozenset[Method] = frozenset({"predict", "predict_proba"})
        return both if self.link == "mean" else both | {"decision_function"}

    def run(self, method: Method, matrix: Matrix) -> Values:
        """
        Answer prepared rows.

        Raises:
            PredictionFailed: A value exceeds float32 where the estimator computes in it.
        """
        matrix, has_missing = self._admit(method, matrix)
        sums = self.forest.sums(matrix, groups=self.groups, has_missing=has_missing)
        if self.link == "mean":
            sums /= self.forest.trees
            return self._from_means(method, sums)
        return self._from_scores(method, sums)

    def _admit(self, method: Method, matrix: Matrix) -> tuple[Matrix, bool]:
        if self.input != "float64":
            with np.errstate(over="ignore"):
                matrix = matrix.astype(np.float32).astype(np.float64)
        if np.isfinite(matrix).all():
            return matrix, False
        if self.input == "float32":
            refuse_non_finite(method, matrix)
        if self.input == "float32_or_missing":
            refuse_non_finite(method, np.where(np.isnan(matrix), 0.0, matrix))
        return matrix, True

    def _from_means(self, method: Method, means: Matrix) -> Values:
        if not self.labels:
            return means[:, 0] if means.shape[1] == 1 else means
        stops = np.cumsum([labels.size for labels in self.labels])[:-1]
        parts = np.split(means, stops, axis=1) if stops.size else [means]
        if method == "predict_proba":
            return means if len(parts) == 1 else rows_of_lists(parts)
        chosen = [
            labels.take(part.argmax(axis=1))
            for labels, part in zip(self.labels, parts, strict=True)
        ]
        return np.asarray(chosen[0] if len(chosen) == 1 else np.stack(chosen, axis=1))

    def _from_scores(self, method: Method, scores: Matrix) -> Values:
        if not self.labels:
            return np.asarray(np.exp(scores[:, 0]) if self.link == "exp" else scores[:, 0])
        is_binary = self.groups == 1
        if method == "decision_function":
            return scores[:, 0] if is_binary else scores
        if method == "predict_proba":
            return self._probabilities(scores)
        if not is_binary:
            return np.asarray(self.labels[0].take(scores.argmax(axis=1)))
        second = scores[:, 0] >= 0 if self.zero_is_second else scores[:, 0] > 0
        return np.asarray(self.labels[0].take(second.astype(np.intp)))

    def _probabilities(self, scores: Matrix) -> Matrix:
        if self.link == "softmax":
            return softmax(scores)
        positive = scores[:, 0]
        return two_columns(sigmoid(2 * positive if self.link == "double_sigmoid" else positive))

    def to_arrays(self) -> tuple[JsonObject, dict[str, NDArray[Any]]]:
        """The head as JSON and arrays."""
        meta: JsonObject = {
            "trees": self.forest.trees,
            "depth": self.forest.depth,
            "input": self.input,
            "link": self.link,
            "groups": self.groups,
            "labels": [labels_to_json(labels) for labels in self.labels],
            "zero_is_second": self.zero_is_second,
        }
        return meta, self.forest.to_arrays()

    @classmethod
    def from_arrays(cls, meta: JsonObject, arrays: Mapping[str, NDArray[Any]], width: int) -> Self:
        """
        Inverse of ``to_arrays`` for a matrix of ``width`` columns.

        Raises:
            ArtifactCorrupt: An index is out of range, or the parts do not agree.
        """
        try:
            forest = Forest.from_arrays(
                arrays, trees=meta["trees"], depth=meta["depth"], width=width
            )
            head = cls(
                forest=forest,
                input=meta["input"],
                link=meta["link"],
                groups=meta["groups"],
                labels=tuple(labels_from_json(stored) for stored in meta["labels"]),
                zero_is_second=bool(meta["zero_is_second"]),
            )
        except (KeyError, TypeError) as exc:
            raise ArtifactCorrupt("the compiled model lacks a part") from exc
        head.check()
        return head

    def check(self) -> None:
        """
        Refuse parts that do not agree.

        Raises:
            ArtifactCorrupt: With what does not hold.
        """
        if self.link not in get_args(TreeLink) or self.input not in get_args(TreeInput):
            raise ArtifactCorrupt("the compiled model's link or input is unknown")
        outputs = self.forest.values.shape[1]
        if type(self.groups) is not int or self.groups < 1 or self.forest.trees % self.groups:
            raise ArtifactCorrupt("the compiled model's trees do not fall into its groups")
        if self.groups > 1 and (outputs != 1 or self.link == "mean"):
            raise ArtifactCorrupt("the compiled model has groups of several outputs")
        if self.labels and not self._has_fitting_labels(outputs):
            raise ArtifactCorrupt("the compiled model has another number of labels than scores")

    def _has_fitting_labels(self, outputs: int) -> bool:
        if self.link == "mean":
            return sum(labels.size for labels in self.labels) == outputs
        return len(self.labels) == 1 and outputs == 1 and self.labels[0].size == max(2, self.groups)


def rows_of_lists(parts: list[Matrix]) -> Values:
    """(rows,) of object: for each row the list of its probability lists, one an output."""
    rows = np.empty(len(parts[0]), dtype=object)
    lists = [part.tolist() for part in parts]
    for row in range(rows.size):
        rows[row] = [part[row] for part in lists]
    return rows

"""Link functions in float64 without SciPy: raw scores to probabilities."""

import numpy as np
from numpy.typing import NDArray

from deployments.engines.base import Matrix


def sigmoid(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logistic function elementwise; neither branch overflows."""
    decay = np.exp(-np.abs(scores))
    return np.where(scores >= 0, 1.0, decay) / (1.0 + decay)


def softmax(scores: Matrix) -> Matrix:
    """Rows of positive numbers that sum to one, from rows of scores."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def two_columns(positive: NDArray[np.float64]) -> Matrix:
    """(rows, 2): one minus the probability of the second class, and that probability."""
    return np.stack([1.0 - positive, positive], axis=1)


def one_against_rest(scores: Matrix) -> Matrix:
    """Sigmoids normalised to one per row, uniform where all of them vanish (as LIBLINEAR does)."""
    powers = sigmoid(scores)
    total = powers.sum(axis=1)
    powers[total == 0] = 1.0
    total[total == 0] = scores.shape[1]
    return np.asarray(powers / total.reshape(-1, 1))

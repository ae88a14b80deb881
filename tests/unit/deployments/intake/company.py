"""A company's own transformer, as an operator would list it."""

from typing import Any, Self

from sklearn.base import BaseEstimator, TransformerMixin


class Doubler(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Multiplies by a factor."""

    def __init__(self, factor: int = 2) -> None:
        self.factor = factor

    def fit(self, x: Any, _y: Any = None) -> Self:
        """Learn how many columns there are, without which no model can be served."""
        self.n_features_in_ = len(x[0])
        self.fitted_ = True
        return self

    def transform(self, x: Any) -> Any:
        """``x`` times the factor."""
        return x * self.factor

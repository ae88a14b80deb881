"""
Gradient boosting: ``predict_stages`` writes one column a tree without looking at the bounds.

The start values come from another estimator; their width is measured with one row of zeros,
after every native part has been checked.
"""

import warnings
from typing import Any

import numpy as np
from sklearn.ensemble._gb import BaseGradientBoosting

from deployments.intake.validators.forests import check_members
from deployments.intake.validators.trees import wrong_tree

_MAX_FEATURES = 1 << 22


def check_stages(model: Any) -> None:
    """``estimators_`` is (stages, columns) of regression trees with one value a node."""
    attributes = model.__dict__
    if "estimators_" not in attributes:
        return
    stages = attributes["estimators_"]
    columns = attributes.get("n_trees_per_iteration_")
    good = (
        type(stages) is np.ndarray
        and stages.dtype == object
        and stages.ndim == 2  # noqa: PLR2004 - stages and columns
        and stages.size > 0
        and stages.shape[1] == columns
    )
    if not good:
        raise wrong_tree("table of a boosting model has another shape")
    members = list(stages.ravel())
    check_members(model, members, attributes.get("n_features_in_", -1))
    if any(member.tree_.n_outputs != 1 or member.tree_.max_n_classes != 1 for member in members):
        raise wrong_tree("of a boosting model has more than one value a node")


def check_start(model: Any) -> None:
    """The start values have one column a tree; called when all else has been checked."""
    if "estimators_" not in model.__dict__:
        return
    if model.n_features_in_ > _MAX_FEATURES:
        raise wrong_tree(f"table of a boosting model is for more than {_MAX_FEATURES} features")
    row = np.zeros((1, int(model.n_features_in_)), dtype=np.float32)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        start = model._raw_predict_init(row)  # noqa: SLF001 - what predict itself starts from
    if start.shape != (1, model.n_trees_per_iteration_):
        raise wrong_tree("table of a boosting model is wider than its start values")


RULES = (((BaseGradientBoosting,), check_stages),)

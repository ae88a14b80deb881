"""Estimators made of decision trees: every tree is for the features that the rows will have."""

from typing import Any

from sklearn.ensemble import IsolationForest
from sklearn.ensemble._bagging import BaseBagging
from sklearn.ensemble._forest import BaseForest
from sklearn.tree import BaseDecisionTree
from sklearn.tree._tree import Tree

from deployments.intake.validators.trees import wrong_tree


def check_tree(estimator: Any) -> None:
    """The compiled tree has the estimator's own number of features."""
    attributes = estimator.__dict__
    if "tree_" not in attributes:
        return
    tree = attributes["tree_"]
    if type(tree) is not Tree or tree.n_features != attributes.get("n_features_in_"):
        raise wrong_tree("is for another number of features than its estimator")
    if tree.n_outputs != attributes.get("n_outputs_", tree.n_outputs):
        raise wrong_tree("has other outputs than its estimator")


def check_members(owner: Any, members: Any, features: int) -> None:
    """Each member is a fitted decision tree for ``features`` columns."""
    for member in members:
        if not isinstance(member, BaseDecisionTree) or "tree_" not in member.__dict__:
            raise wrong_tree(f"of {type(owner).__name__} is none")
        if member.__dict__.get("n_features_in_") != features:
            raise wrong_tree(f"of {type(owner).__name__} is for other features")


def check_forest(forest: Any) -> None:
    """A forest skips the input check of its trees, so theirs must be its own."""
    attributes = forest.__dict__
    if "estimators_" in attributes:
        members = attributes["estimators_"]
        if type(members) is not list or not members:
            raise wrong_tree("list is empty")
        check_members(forest, members, attributes.get("n_features_in_", -1))
        _check_same_outputs(members)


def _check_same_outputs(members: list[Any]) -> None:
    first = members[0].tree_
    shape = (first.n_outputs, first.max_n_classes)
    if any((member.tree_.n_outputs, member.tree_.max_n_classes) != shape for member in members):
        raise wrong_tree("has other outputs than its neighbours")


def check_bagging(bagging: Any) -> None:
    """Each member takes as many columns as are chosen for it."""
    attributes = bagging.__dict__
    members, chosen = attributes.get("estimators_"), attributes.get("estimators_features_")
    if members is None or chosen is None:
        return
    if type(members) is not list or type(chosen) is not list or len(members) != len(chosen):
        raise wrong_tree("list of a bagging model does not match its columns")
    for member, columns in zip(members, chosen, strict=True):
        if isinstance(bagging, IsolationForest):
            check_members(bagging, [member], len(columns))


RULES = (
    ((BaseDecisionTree,), check_tree),
    ((BaseForest,), check_forest),
    ((BaseBagging,), check_bagging),
)

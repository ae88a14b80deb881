"""
scikit-learn's compiled objects: trees, neighbour trees, distances, losses, splines.

Each is made only after its whole state passed the check of ``validators``, since their compiled
code follows indices without looking.
"""

from typing import Any

import numpy as np
from scipy.interpolate import BSpline
from sklearn._loss import _loss
from sklearn.linear_model import _sgd_fast
from sklearn.metrics import _dist_metrics
from sklearn.neighbors import _ball_tree, _kd_tree
from sklearn.tree import _tree

from deployments.intake.constructors.checks import is_count, is_number, wrong
from deployments.intake.machine import Machine
from deployments.intake.tokens import Pending
from deployments.intake.validators.distances import check_distance_state
from deployments.intake.validators.neighbour_trees import check_neighbour_tree_state
from deployments.intake.validators.trees import check_tree_state

TREE = "sklearn.tree._tree.Tree"
SPLINE = "scipy.interpolate._bsplines.BSpline"
MULTINOMIAL = "sklearn._loss._loss.__pyx_unpickle_CyHalfMultinomialLoss"
_MAX_FEATURES = 1 << 31
_MAX_DEGREE = 64
#: loss class -> how many numbers its constructor takes.
LOSSES: dict[type[Any], int] = {
    _loss.CyAbsoluteError: 0,
    _loss.CyExponentialLoss: 0,
    _loss.CyHalfBinomialLoss: 0,
    _loss.CyHalfGammaLoss: 0,
    _loss.CyHalfPoissonLoss: 0,
    _loss.CyHalfSquaredError: 0,
    _loss.CyHalfTweedieLoss: 1,
    _loss.CyHalfTweedieLossIdentity: 1,
    _loss.CyHuberLoss: 1,
    _loss.CyPinballLoss: 1,
    _sgd_fast.EpsilonInsensitive: 1,
    _sgd_fast.Hinge: 1,
    _sgd_fast.ModifiedHuber: 0,
    _sgd_fast.SquaredEpsilonInsensitive: 1,
    _sgd_fast.SquaredHinge: 1,
}
DISTANCES = frozenset(
    cls
    for name, cls in vars(_dist_metrics).items()
    if isinstance(cls, type) and name.endswith("Distance64") and name != "PyFuncDistance64"
)


def tree(_machine: Machine, args: tuple[Any, ...]) -> Pending:
    """``Tree(n_features, n_classes, n_outputs)``; nodes and values come with the state."""
    if len(args) != 3:  # noqa: PLR2004 - three
        raise wrong(TREE, "takes three arguments", reason="tree")
    features, classes, outputs = args
    good = (
        is_count(features, at_most=_MAX_FEATURES)
        and is_count(outputs, at_most=1 << 20)
        and isinstance(classes, np.ndarray)
        and classes.dtype == np.intp
        and classes.shape == (outputs,)
        and outputs > 0
        and bool(classes.min() >= 1)
        and bool(classes.max() < _MAX_FEATURES)
    )
    if not good:
        raise wrong(TREE, "its sizes are out of range", reason="tree")

    def finish(_: Machine, state: Any) -> Any:
        checked = check_tree_state(state, features, (outputs, int(classes.max())))
        built = _tree.Tree(features, np.ascontiguousarray(classes), outputs)
        built.__setstate__(checked)
        return built

    return Pending(TREE, finish)


def neighbour_tree(cls: Any) -> Any:
    """The constructor behind ``newObj(KDTree)`` or ``newObj(BallTree)``."""
    name = f"{cls.__module__}.newObj"

    def build(_machine: Machine, args: tuple[Any, ...]) -> Pending:
        if len(args) != 1 or args[0] is not cls:
            raise wrong(name, "is called for another class", reason="native")
        return Pending(name, lambda _, state: make_neighbour_tree(cls, state))

    return build


def make_neighbour_tree(cls: Any, state: Any) -> Any:
    """A KDTree or BallTree with the checked state."""
    checked = check_neighbour_tree_state(state, is_ball=cls is _ball_tree.BallTree)
    built = cls.__new__(cls)
    built.__setstate__(checked)
    return built


def distance(_machine: Machine, args: tuple[Any, ...]) -> Pending:
    """``newObj(EuclideanDistance64)`` and the like."""
    name = "sklearn.metrics._dist_metrics.newObj"
    if len(args) != 1 or not isinstance(args[0], type) or args[0] not in DISTANCES:
        raise wrong(name, "is called for another class", reason="native")
    cls = args[0]
    return Pending(name, lambda _, state: make_distance(cls, state))


def make_distance(cls: Any, state: Any) -> Any:
    """A distance of ``cls`` with the checked state."""
    checked = check_distance_state(state)
    built = cls.__new__(cls)
    built.__setstate__(checked)
    return built


def loss(cls: type[Any]) -> Any:
    """The constructor of a compiled loss: as many numbers as it takes."""

    def build(_machine: Machine, args: tuple[Any, ...]) -> Any:
        return make_loss(cls, args)

    return build


def make_loss(cls: type[Any], args: tuple[Any, ...]) -> Any:
    """A compiled loss; its arguments are numbers."""
    if len(args) != LOSSES[cls] or not all(is_number(value) for value in args):
        raise wrong(f"{cls.__module__}.{cls.__qualname__}", "takes numbers", reason="native")
    return cls(*args)


def multinomial(machine: Machine, args: tuple[Any, ...]) -> Any:
    """``__pyx_unpickle_CyHalfMultinomialLoss(cls, checksum, state)``: it has no state."""
    good = len(args) == 3 and args[0] is _loss.CyHalfMultinomialLoss and args[2] in (None, ())  # noqa: PLR2004 - Cython's three
    if not good:
        raise wrong(MULTINOMIAL, "is called for another class", reason="native")
    made = _loss.CyHalfMultinomialLoss()
    # pickle writes an empty state for it; ``fill`` takes that and nothing else.
    machine.made[id(made)] = made
    return made


def spline(_machine: Machine, state: Any) -> Any:
    """A BSpline made anew: sorted finite knots, enough coefficients, a small degree."""
    if type(state) is not dict:
        raise wrong(SPLINE, "its state has another form", reason="native")
    knots: Any = state.get("_t", state.get("t"))
    values: Any = state.get("_c", state.get("c"))
    degree: Any = state.get("k")
    axis: Any = state.get("axis", 0)
    good = (
        all(type(part) is np.ndarray and part.dtype == np.float64 for part in (knots, values))
        and knots.ndim == 1
        and is_count(degree, at_most=_MAX_DEGREE)
        and axis == 0
        and len(knots) >= 2 * (degree + 1)
        and bool(np.all(np.isfinite(knots)))
        and bool(np.all(np.diff(knots) >= 0))
        and values.ndim >= 1
        and len(values) >= len(knots) - degree - 1
        and state.get("extrapolate") in (True, False, "periodic")
    )
    if not good:
        raise wrong(SPLINE, "its knots are not sorted or too few", reason="native")
    return BSpline(knots, values, degree, extrapolate=state["extrapolate"], axis=0)


NEIGHBOUR_TREES = (_kd_tree.KDTree, _ball_tree.BallTree)

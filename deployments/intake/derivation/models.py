"""Variants of linear models, ensembles, networks and multi-output models: losses and targets."""

from collections.abc import Iterator

import numpy as np
from scipy import sparse
from sklearn import ensemble, linear_model, naive_bayes
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.mixture import GaussianMixture
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier

from deployments.intake.derivation.specimen import Specimen, data, fitted

_SGD_LOSSES = (
    "hinge",
    "log_loss",
    "modified_huber",
    "squared_hinge",
    "perceptron",
    "squared_error",
    "huber",
    "epsilon_insensitive",
    "squared_epsilon_insensitive",
)


def linear() -> Iterator[Specimen]:
    """Linear and Bayesian models with every loss, sparse rows and labels of several types."""
    d = data()
    rows = sparse.csr_matrix(d.x)
    for loss in _SGD_LOSSES:
        yield fitted(linear_model.SGDClassifier(loss=loss), d.x, d.three, note=loss)
    for loss in _SGD_LOSSES[-4:]:
        yield fitted(linear_model.SGDRegressor(loss=loss, average=True), d.x, d.numbers, note=loss)
    stopping = linear_model.SGDClassifier(early_stopping=True, learning_rate="adaptive", eta0=0.1)
    yield fitted(stopping, d.x, d.labels, note="stopping")
    logistic = linear_model.LogisticRegression
    yield fitted(logistic(), d.x, d.labels, note="labels")
    yield fitted(logistic(), d.x, d.labels.astype(object), note="object-labels")
    yield fitted(logistic(), d.x, d.binary.astype(bool), note="bool")
    yield fitted(logistic(), d.x, d.three.astype(float), note="float")
    yield fitted(logistic(), rows, d.three, note="sparse")
    yield fitted(logistic(class_weight={0: 1, 1: 2}), d.x, d.binary, note="weights")
    yield fitted(logistic(random_state=np.random.RandomState(0)), d.x, d.binary, note="state")
    yield fitted(logistic(), d.x.astype(np.float32), d.three, note="float32")
    yield fitted(linear_model.LogisticRegressionCV(Cs=3, cv=3), d.x, d.labels, note="labels")
    for power in (0, 1, 1.5, 3):
        tweedie = linear_model.TweedieRegressor(power=power)
        yield fitted(tweedie, d.x, np.abs(d.numbers) + 1, note=f"power-{power}")
    yield fitted(linear_model.Ridge(), d.x, d.multilabel, note="two-targets")
    yield fitted(linear_model.Lasso(), sparse.csc_matrix(d.x), d.numbers, note="sparse")
    yield fitted(linear_model.LinearRegression(positive=True), d.x, d.numbers, note="positive")
    yield fitted(linear_model.RANSACRegressor(random_state=0), d.x, d.numbers, note="default")
    yield fitted(linear_model.RidgeCV(scoring="r2"), d.x, d.numbers, note="scoring")
    yield fitted(LinearSVC(), d.x, d.labels, note="labels")
    yield fitted(naive_bayes.MultinomialNB(), sparse.csr_matrix(d.positive), d.labels, note="csr")
    yield fitted(naive_bayes.GaussianNB(priors=[0.5, 0.5]), d.x, d.binary, note="priors")


def trees() -> Iterator[Specimen]:
    """Trees, forests and boosting with each loss and criterion."""
    d = data()
    for loss in ("squared_error", "absolute_error", "gamma", "poisson", "quantile"):
        target = np.abs(d.numbers) + 1
        quantile = 0.4 if loss == "quantile" else None
        model = ensemble.HistGradientBoostingRegressor(loss=loss, quantile=quantile, max_iter=4)
        yield fitted(model, d.x, target, note=loss)
    for loss in ("squared_error", "absolute_error", "huber", "quantile"):
        yield fitted(
            ensemble.GradientBoostingRegressor(loss=loss, n_estimators=4), d.x, d.numbers, note=loss
        )
    for criterion in ("gini", "entropy"):
        tree = DecisionTreeClassifier(criterion=criterion, class_weight="balanced")
        yield fitted(tree, d.x, d.labels, note=criterion)
    for criterion in ("squared_error", "absolute_error", "poisson"):
        tree = DecisionTreeRegressor(criterion=criterion, max_depth=3)
        yield fitted(tree, d.x, np.abs(d.numbers), note=criterion)
    yield fitted(DecisionTreeClassifier(), d.x, d.multilabel, note="multilabel")
    yield fitted(DecisionTreeClassifier(), sparse.csc_matrix(d.x), d.three, note="sparse")
    yield fitted(DecisionTreeRegressor(monotonic_cst=[1, 0, 0, -1]), d.x, d.numbers, note="cst")
    yield fitted(DecisionTreeClassifier(), _holes(d.x), d.three, note="missing")
    yield fitted(ExtraTreeClassifier(max_features=None), d.x, d.three, note="all")
    yield from _ensembles()


def _holes(x: np.ndarray) -> np.ndarray:
    holed = x.copy()
    holed[::7, 1] = np.nan
    return holed


def _ensembles() -> Iterator[Specimen]:
    d = data()
    hist = ensemble.HistGradientBoostingClassifier
    forest = ensemble.RandomForestClassifier
    yield fitted(hist(max_iter=4, early_stopping=True), _holes(d.x), d.labels, note="missing")
    yield fitted(hist(max_iter=4), d.x, d.three, note="three")
    categories = np.column_stack([d.three, d.x])
    yield fitted(hist(max_iter=4, categorical_features=[0]), categories, d.binary, note="category")
    yield fitted(hist(max_iter=4, monotonic_cst=[1, 0, 0, -1]), d.x, d.binary, note="monotonic")
    yield fitted(hist(max_iter=4, interaction_cst="pairwise"), d.x, d.binary, note="pairwise")
    yield fitted(forest(5, oob_score=True, bootstrap=True), d.x, d.labels, note="oob")
    yield fitted(forest(5, max_samples=0.5), d.x, d.multilabel, note="multilabel")
    yield fitted(forest(5), d.x.astype(np.float32), d.three.astype(str), note="float32")
    yield fitted(ensemble.ExtraTreesRegressor(5), d.x, d.multilabel, note="two-targets")
    boosted = ensemble.GradientBoostingClassifier
    yield fitted(boosted(loss="exponential", n_estimators=4), d.x, d.binary, note="exponential")
    yield fitted(boosted(n_estimators=4, init="zero"), d.x, d.three, note="zero")
    yield fitted(
        boosted(n_estimators=4, init=linear_model.LogisticRegression()), d.x, d.binary, note="init"
    )
    bagged = ensemble.BaggingClassifier(linear_model.LogisticRegression(), 3, max_features=0.5)
    yield fitted(bagged, d.x, d.labels, note="logistic")
    yield fitted(ensemble.AdaBoostClassifier(n_estimators=3), d.x, d.labels, note="labels")
    pair = [("a", linear_model.LogisticRegression()), ("b", DecisionTreeClassifier())]
    dropped = [*pair, ("c", "drop")]
    yield fitted(ensemble.VotingClassifier(dropped, voting="soft"), d.x, d.labels, note="soft")
    yield fitted(ensemble.StackingClassifier(pair, passthrough=True), d.x, d.labels, note="pass")
    yield fitted(
        ensemble.IsolationForest(n_estimators=5, contamination=0.1), d.x, note="contamination"
    )


def outputs() -> Iterator[Specimen]:
    """Models around models, several outputs, calibration, networks and clusters."""
    d = data()
    logistic = linear_model.LogisticRegression
    for method in ("sigmoid", "isotonic", "temperature"):
        yield fitted(CalibratedClassifierCV(logistic(), method=method), d.x, d.labels, note=method)
    yield fitted(CalibratedClassifierCV(ensemble=False), d.x, d.three, note="one")
    yield fitted(OneVsRestClassifier(logistic()), d.x, sparse.csr_matrix(d.multilabel), note="csr")
    yield fitted(OneVsRestClassifier(logistic()), d.x, d.labels, note="labels")
    yield fitted(OneVsOneClassifier(LinearSVC()), d.x, d.three, note="linear")
    yield fitted(OutputCodeClassifier(logistic(), random_state=0), d.x, d.three, note="logistic")
    both = np.column_stack([d.labels, np.where(d.three == 1, "one", "other")])
    yield fitted(MultiOutputClassifier(logistic()), d.x, both, note="labels")
    yield fitted(ClassifierChain(logistic(), order=[1, 0]), d.x, d.multilabel, note="order")
    for solver in ("adam", "sgd", "lbfgs"):
        yield fitted(MLPClassifier((5,), solver=solver, max_iter=5), d.x, d.labels, note=solver)
    early = MLPRegressor(hidden_layer_sizes=(5,), early_stopping=True, max_iter=5)
    yield fitted(early, d.x, d.numbers, note="early")
    for covariance in ("full", "tied", "diag", "spherical"):
        yield fitted(GaussianMixture(2, covariance_type=covariance), d.x, note=covariance)
    yield fitted(KMeans(3, algorithm="elkan", n_init=2), d.x, note="elkan")
    yield fitted(MiniBatchKMeans(3, n_init=2), sparse.csr_matrix(d.x), note="sparse")
    for strategy in ("prior", "stratified", "uniform", "most_frequent"):
        yield fitted(
            DummyClassifier(strategy=strategy, random_state=0), d.x, d.labels, note=strategy
        )
    yield fitted(DummyRegressor(strategy="quantile", quantile=0.3), d.x, d.numbers, note="quantile")
    yield fitted(FrozenEstimator(logistic().fit(d.x, d.labels)), d.x, d.labels, note="logistic")
    isotonic = IsotonicRegression(out_of_bounds="clip", increasing="auto")
    yield fitted(isotonic, d.x[:, 0], d.numbers, note="clip")
    partly = np.where(np.arange(len(d.binary)) % 3 == 0, -1, d.binary)
    yield fitted(SelfTrainingClassifier(logistic()), d.x, partly, note="logistic")

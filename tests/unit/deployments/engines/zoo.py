"""Small fitted estimators of every kind that has a compiled form, and some that have none."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    Perceptron,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC, LinearSVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier

Data = tuple[NDArray[np.float64], NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Specimen:
    """One estimator to fit, what to fit it on, and which engine it must get."""

    name: str
    make: Callable[[], Any]
    data: Callable[[], Data]
    engine: str


def iris() -> Data:
    return load_iris(return_X_y=True)  # type: ignore[no-any-return]


def named_iris() -> Data:
    rows, labels = iris()
    return rows, np.array(["setosa", "versicolor", "virginica"], dtype=object)[labels]


def cancer() -> Data:
    return load_breast_cancer(return_X_y=True)  # type: ignore[no-any-return]


def cancer_with_gaps() -> Data:
    rows, labels = cancer()
    return _with_gaps(rows), labels


def diabetes() -> Data:
    return load_diabetes(return_X_y=True)  # type: ignore[no-any-return]


def diabetes_with_gaps() -> Data:
    rows, target = diabetes()
    return _with_gaps(rows), target


def two_targets() -> Data:
    rows, target = diabetes()
    return rows, np.stack([target, target**2], axis=1)


def two_labels() -> Data:
    rows, labels = iris()
    return rows, np.stack([labels, labels % 2], axis=1)


def two_named_labels() -> Data:
    rows, labels = iris()
    names = np.array(["a", "b", "c"], dtype=object)
    return rows, np.stack([names[labels], names[labels % 2]], axis=1)


def coded() -> Data:
    rows, labels = iris()
    codes = np.random.default_rng(0).integers(0, 9, len(rows)) * 10.0
    return np.column_stack([rows, codes]), labels


def coded_with_gaps() -> Data:
    rows, labels = coded()
    return _with_gaps(rows), labels


def truths() -> Data:
    rows, labels = iris()
    return rows, labels > 0


def floats_as_labels() -> Data:
    rows, labels = iris()
    return rows, labels * 2.0


def _with_gaps(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    absent = np.random.default_rng(1).random(rows.shape) < 0.1
    return np.where(absent, np.nan, rows)


def _specimens() -> list[Specimen]:
    seed = {"random_state": 0}
    few = {"n_estimators": 8, **seed}
    rounds = {"max_iter": 8, **seed}
    made: list[tuple[str, Callable[[], Any], Callable[[], Data], str]] = [
        ("logistic", lambda: LogisticRegression(max_iter=500), iris, "linear"),
        ("logistic, two classes", lambda: LogisticRegression(max_iter=5000), truths, "linear"),
        ("logistic, names", lambda: LogisticRegression(max_iter=500), named_iris, "linear"),
        (
            "scaled logistic",
            lambda: make_pipeline(StandardScaler(), LogisticRegression()),
            named_iris,
            "linear",
        ),
        (
            "chosen, projected, whitened",
            lambda: make_pipeline(
                MinMaxScaler(clip=True),
                SelectKBest(k=3),
                PCA(2, whiten=True),
                LogisticRegression(),
            ),
            iris,
            "linear",
        ),
        (
            "imputed ridge",
            lambda: make_pipeline(SimpleImputer(strategy="median"), RobustScaler(), Ridge()),
            diabetes_with_gaps,
            "linear",
        ),
        ("linear regression", LinearRegression, diabetes, "linear"),
        ("linear regression, two targets", LinearRegression, two_targets, "linear"),
        ("elastic net", ElasticNet, diabetes, "linear"),
        ("sgd", lambda: SGDClassifier(loss="log_loss", **seed), iris, "linear"),
        ("sgd regression", lambda: SGDRegressor(**seed), diabetes, "linear"),
        ("ridge classifier", RidgeClassifier, iris, "linear"),
        ("perceptron", lambda: Perceptron(**seed), truths, "linear"),
        ("svc", lambda: LinearSVC(**seed), named_iris, "linear"),
        ("svr", lambda: LinearSVR(max_iter=20_000, **seed), diabetes, "linear"),
        ("lda", LinearDiscriminantAnalysis, iris, "linear"),
        ("scaler alone", lambda: make_pipeline(MaxAbsScaler()), iris, "linear"),
        ("tree", lambda: DecisionTreeClassifier(**seed), named_iris, "trees"),
        ("stump of one leaf", lambda: DecisionTreeClassifier(max_depth=1), truths, "trees"),
        ("extra tree", lambda: ExtraTreeClassifier(**seed), iris, "trees"),
        ("tree, two targets", lambda: DecisionTreeRegressor(**seed), two_targets, "trees"),
        ("tree with gaps", lambda: DecisionTreeRegressor(**seed), diabetes_with_gaps, "trees"),
        ("forest", lambda: RandomForestClassifier(**few), cancer, "trees"),
        ("forest, float labels", lambda: RandomForestClassifier(**few), floats_as_labels, "trees"),
        ("forest with gaps", lambda: RandomForestClassifier(**few), cancer_with_gaps, "trees"),
        ("forest, two outputs", lambda: RandomForestClassifier(**few), two_labels, "trees"),
        ("forest, named outputs", lambda: ExtraTreesClassifier(**few), two_named_labels, "trees"),
        ("forest regression", lambda: RandomForestRegressor(**few), diabetes, "trees"),
        (
            "many trees",
            lambda: ExtraTreesRegressor(n_estimators=20, max_depth=4, **seed),
            two_targets,
            "trees",
        ),
        (
            "scaled forest",
            lambda: make_pipeline(StandardScaler(), RandomForestClassifier(**few)),
            cancer,
            "trees",
        ),
        ("boosting", lambda: GradientBoostingClassifier(**few), named_iris, "trees"),
        ("boosting, two classes", lambda: GradientBoostingClassifier(**few), cancer, "trees"),
        (
            "boosting, exponential",
            lambda: GradientBoostingClassifier(loss="exponential", **few),
            truths,
            "trees",
        ),
        (
            "boosting from zero",
            lambda: GradientBoostingClassifier(init="zero", **few),
            iris,
            "trees",
        ),
        (
            "boosting, huber",
            lambda: GradientBoostingRegressor(loss="huber", **few),
            diabetes,
            "trees",
        ),
        ("histograms", lambda: HistGradientBoostingClassifier(**rounds), cancer, "trees"),
        (
            "histograms, names",
            lambda: HistGradientBoostingClassifier(**rounds),
            named_iris,
            "trees",
        ),
        (
            "histograms with gaps",
            lambda: HistGradientBoostingClassifier(**rounds),
            cancer_with_gaps,
            "trees",
        ),
        (
            "histograms, poisson",
            lambda: HistGradientBoostingRegressor(loss="poisson", **rounds),
            diabetes,
            "trees",
        ),
        (
            "histograms, categories",
            lambda: HistGradientBoostingClassifier(categorical_features=[4, 0], **rounds),
            coded_with_gaps,
            "trees",
        ),
        ("neighbours", KNeighborsClassifier, named_iris, "native"),
        ("kernel", SVC, two_classes_named, "native"),
        ("clusters", lambda: KMeans(3, n_init=1, **seed), iris, "native"),
        ("outliers", lambda: IsolationForest(**few), iris, "native"),
        (
            "tree after a projection",
            lambda: make_pipeline(PCA(2), DecisionTreeClassifier(**seed)),
            iris,
            "native",
        ),
    ]
    return [Specimen(name=n, make=m, data=d, engine=e) for n, m, d, e in made]


def two_classes_named() -> Data:
    rows, labels = iris()
    return rows, np.array(["no", "yes"], dtype=object)[(labels > 1).astype(int)]


SPECIMENS = _specimens()


@cache
def fitted(name: str) -> Any:
    """The specimen of that name, fitted once a session."""
    specimen = next(one for one in SPECIMENS if one.name == name)
    rows, target = specimen.data()
    with warnings.catch_warnings():
        # Convergence is not what is tested.
        warnings.simplefilter("ignore")
        return specimen.make().fit(rows, target)


def many_rows(specimen: Specimen, count: int = 10_000) -> NDArray[np.float64]:
    """Training rows, disturbed at several magnitudes, gaps where the training rows have them."""
    rows, _ = specimen.data()
    random = np.random.default_rng(7)
    chosen = rows[random.integers(len(rows), size=count)]
    spread = np.nanstd(rows, axis=0) * random.choice([0.0, 0.1, 1.0, 10.0], size=(count, 1))
    return np.ascontiguousarray(chosen + random.normal(size=chosen.shape) * spread)

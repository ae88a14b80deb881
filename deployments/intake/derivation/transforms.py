"""Variants of encoders, scalers, imputers, selectors and compositions on arrays."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse
from sklearn import preprocessing
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.decomposition import PCA, KernelPCA, TruncatedSVD
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - makes the next one exist
from sklearn.feature_selection import (
    RFECV,
    GenericUnivariateSelect,
    SelectFdr,
    SelectFromModel,
    SelectKBest,
    chi2,
    f_classif,
    f_regression,
    mutual_info_classif,
    mutual_info_regression,
    r_regression,
)
from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator, SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.random_projection import SparseRandomProjection
from sklearn.tree import DecisionTreeClassifier

from deployments.intake.derivation.specimen import Specimen, data, fitted

_UFUNCS = (np.log1p, np.sqrt, np.exp, np.abs, np.square, np.sin)


def words() -> np.ndarray[Any, Any]:
    """A (60, 2) object array of strings with a few missing values in its second column."""
    d = data()
    table = np.empty((len(d.three), 2), dtype=object)
    table[:, 0] = [f"c{label}" for label in d.three]
    table[:, 1] = [None if n % 9 == 0 else f"s{n % 4}" for n in range(len(d.three))]
    return table


def encoders() -> Iterator[Specimen]:
    """Encoders over strings, None, NaN and numbers, and label binarisers."""
    d = data()
    strings, filled = words(), words().copy()
    filled[:, 1] = [value or "none" for value in filled[:, 1]]
    hot, ordinal = preprocessing.OneHotEncoder, preprocessing.OrdinalEncoder
    yield fitted(hot(), strings, note="none")
    yield fitted(hot(handle_unknown="ignore", sparse_output=False), filled, note="ignore")
    yield fitted(hot(drop="first", dtype=np.float32), filled, note="first")
    yield fitted(hot(drop="if_binary", min_frequency=3), filled, note="infrequent")
    yield fitted(hot(handle_unknown="infrequent_if_exist", max_categories=3), filled, note="exist")
    yield fitted(hot(categories=[["c0", "c1", "c2"]]), filled[:, :1], note="given")
    yield fitted(hot(), d.three.reshape(-1, 1), note="integers")
    yield fitted(hot(), d.labels.reshape(-1, 1), note="unicode")
    nan = np.where(np.arange(60) % 7 == 0, np.nan, d.three.astype(float)).reshape(-1, 1)
    yield fitted(hot(), nan, note="nan")
    yield fitted(ordinal(), strings, note="none")
    unknown = ordinal(handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.int32)
    yield fitted(unknown, filled, note="unknown")
    yield fitted(ordinal(encoded_missing_value=-2), nan, note="missing")
    yield fitted(preprocessing.TargetEncoder(), filled, d.binary, note="strings")
    yield fitted(preprocessing.LabelEncoder(), d.labels, note="unicode")
    yield fitted(preprocessing.LabelBinarizer(sparse_output=True), d.labels, note="sparse")
    yield fitted(preprocessing.LabelBinarizer(), d.three, note="three")
    sets = [("a", "b"), ("b",), ("a", "c")] * 5
    yield fitted(preprocessing.MultiLabelBinarizer(), sets, note="tuples")


def scalers() -> Iterator[Specimen]:
    """Scalers, discretisers, splines and functions."""
    d = data()
    rows = sparse.csr_matrix(d.x)
    yield fitted(preprocessing.StandardScaler(with_mean=False), rows, note="sparse")
    yield fitted(preprocessing.MaxAbsScaler(), rows, note="sparse")
    yield fitted(preprocessing.MinMaxScaler((-1, 1), clip=True), d.x, note="range")
    yield fitted(preprocessing.RobustScaler(unit_variance=True), d.x, note="unit")
    yield fitted(preprocessing.StandardScaler(), d.x.astype(np.float32), note="float32")
    for method in ("yeo-johnson", "box-cox"):
        yield fitted(preprocessing.PowerTransformer(method), d.positive, note=method)
    normal = preprocessing.QuantileTransformer(n_quantiles=20, output_distribution="normal")
    yield fitted(normal, d.x, note="normal")
    for encode in ("onehot", "onehot-dense", "ordinal"):
        for strategy in ("uniform", "quantile", "kmeans"):
            bins = preprocessing.KBinsDiscretizer(
                3, encode=encode, strategy=strategy, quantile_method="averaged_inverted_cdf"
            )
            yield fitted(bins, d.x, note=f"{encode}-{strategy}")
    for outside in ("constant", "linear", "continue", "periodic"):
        spline = preprocessing.SplineTransformer(extrapolation=outside)
        yield fitted(spline, d.x, note=outside)
    yield fitted(preprocessing.SplineTransformer(sparse_output=True), d.x, note="sparse")
    yield fitted(preprocessing.PolynomialFeatures((1, 3), interaction_only=True), rows, note="csr")
    for function in _UFUNCS:
        transformer = preprocessing.FunctionTransformer(function, validate=True)
        yield fitted(transformer, d.positive, note=function.__name__)
    clip = preprocessing.FunctionTransformer(np.clip, kw_args={"a_min": -1, "a_max": 1})
    yield fitted(clip, d.x, note="clip")
    both = preprocessing.FunctionTransformer(np.log1p, np.expm1, feature_names_out="one-to-one")
    yield fitted(both, d.positive, note="inverse")
    part = preprocessing.FunctionTransformer(partial(np.round, decimals=1))
    yield fitted(part, d.x, note="partial")


def imputers() -> Iterator[Specimen]:
    """Imputers over numbers and strings, each strategy."""
    holed = data().x.copy()
    holed[::5, 0] = np.nan
    for strategy in ("mean", "median", "most_frequent", "constant"):
        yield fitted(SimpleImputer(strategy=strategy), holed, note=strategy)
    marked = SimpleImputer(missing_values=None, strategy="constant", fill_value="none")
    yield fitted(marked, words(), note="strings")
    frequent = SimpleImputer(missing_values=None, strategy="most_frequent")
    yield fitted(frequent, words(), note="frequent-string")
    yield fitted(SimpleImputer(add_indicator=True, keep_empty_features=True), holed, note="mark")
    yield fitted(KNNImputer(n_neighbors=2, weights="distance"), holed, note="distance")
    yield fitted(IterativeImputer(max_iter=2, random_state=0), holed, note="iterative")
    yield fitted(MissingIndicator(sparse=True), holed, note="sparse")


def selectors() -> Iterator[Specimen]:
    """Feature selection with each score function, and decompositions."""
    d = data()
    for score in (f_classif, mutual_info_classif):
        yield fitted(SelectKBest(score, k=2), d.x, d.binary, note=score.__name__)
    for score in (f_regression, mutual_info_regression, r_regression):
        yield fitted(SelectKBest(score, k=2), d.x, d.numbers, note=score.__name__)
    yield fitted(SelectFdr(chi2, alpha=0.9), d.positive, d.binary, note="chi2")
    yield fitted(GenericUnivariateSelect(mode="k_best", param=2), d.x, d.binary, note="k-best")
    tree = DecisionTreeClassifier(random_state=0)
    yield fitted(SelectFromModel(tree, threshold="mean"), d.x, d.binary, note="tree")
    yield fitted(RFECV(LogisticRegression(), cv=3), d.x, d.binary, note="logistic")
    for solver in ("full", "randomized", "arpack", "covariance_eigh"):
        yield fitted(PCA(2, svd_solver=solver, random_state=0), d.x, note=solver)
    yield fitted(KernelPCA(2, kernel="rbf", fit_inverse_transform=True), d.x, note="inverse")
    yield fitted(TruncatedSVD(2, random_state=0), sparse.csr_matrix(d.x), note="sparse")
    projection = SparseRandomProjection(2, random_state=0, compute_inverse_components=True)
    yield fitted(projection, d.x, note="inverse")


def compositions() -> Iterator[Specimen]:
    """Pipelines, unions, column transformers by position, set_output and metadata requests."""
    d = data()
    scaler = preprocessing.StandardScaler
    yield fitted(make_pipeline(scaler(), LogisticRegression()), d.x, d.labels, note="labels")
    verbose = Pipeline([("scale", scaler()), ("skip", "passthrough")], memory=None, verbose=False)
    yield fitted(verbose, d.x, note="passthrough")
    union = FeatureUnion([("pca", PCA(2)), ("same", "passthrough"), ("no", "drop")])
    yield fitted(union, d.x, note="union")
    for note, columns in (
        ("list", [0, 2]),
        ("slice", slice(0, 2)),
        ("mask", [True, False, True, False]),
        ("array", np.array([1, 3])),
        ("one", [1]),
    ):
        parts = ColumnTransformer([("scale", scaler(), columns)], remainder="passthrough")
        yield fitted(make_pipeline(parts, LogisticRegression()), d.x, d.binary, note=note)
    chosen = ColumnTransformer([("scale", scaler(), [0])], remainder=scaler(), n_jobs=None)
    yield fitted(chosen, d.x, note="remainder")
    yield fitted(scaler().set_output(transform="default"), d.x, note="output")
    target = TransformedTargetRegressor(LinearRegression(), func=np.log1p, inverse_func=np.expm1)
    yield fitted(target, d.x, np.abs(d.numbers), note="functions")
    quantile = preprocessing.QuantileTransformer(n_quantiles=10)
    target = TransformedTargetRegressor(LinearRegression(), transformer=quantile)
    yield fitted(target, d.x, d.numbers, note="transformer")
    selector = make_column_selector(dtype_include=np.number)
    yield Specimen(name="make_column_selector[number]", estimator=_holder(selector), inputs=None)


def _holder(selector: Any) -> ColumnTransformer:
    """An unfitted transformer that carries ``selector`` (fitting needs a frame)."""
    return ColumnTransformer([("numbers", preprocessing.StandardScaler(), selector)])
